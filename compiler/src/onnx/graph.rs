//! The graph of a model: which nodes are needed, in which order, and what each name stands for.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::entity::Value;
use fhec_ir::fact::{ONNX_NODES, QUANTISED};
use fhec_ir::func::{Func, OpData};
use fhec_ir::nn::Nn;
use fhec_ir::nn::origin::OnnxNode;
use fhec_ir::tensor::Tensor;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, EdgeRef, IntoEdgeReferences, IntoNodeIdentifiers, NodeFiltered, Reversed};

use super::emit::{EmitError, Emitter};
use super::error::{ImportError, NodeId};
use super::literal::{Elements, Operand};
use super::node::{Node, constant};
use super::tensor::{TensorReader, data_type, integer_limits};
use super::{ImportOptions, Imported, ends, ops, patterns};

/// Oldest supported version of the operator set.
pub const OLDEST_OPSET: i64 = 6;

/// Newest version of the operator set that was known when this was written.
pub const NEWEST_OPSET: i64 = 28;

/// Imports the graph of `model`, of `size` bytes.
pub(super) fn import(
    model: &ModelProto,
    reader: &TensorReader,
    options: &ImportOptions,
    size: usize,
) -> Result<Imported, ImportError> {
    let graph = model.graph.get_or_default();
    let opset = opset(model)?;
    let names = Names::of(graph)?;
    let ends = ends::ends(graph, &names, options)?;
    let order = order(graph, &names, &ends, opset)?;

    let mut emitter = Emitter::new(&func_name(&graph.name), size);
    emitter.keep_rounding = options.keep_rounding;
    let mut known: BTreeMap<&str, Operand> = BTreeMap::new();
    let (mut inputs, mut input_limits) = (Vec::new(), Vec::new());
    let mut nodes: BTreeMap<String, NodeId> = BTreeMap::new();
    let given = given_shapes(&names, options)?;
    // Where a network ends earlier, it takes what is needed up to there.
    let needed = (!options.end_at.is_empty()).then(|| ends::needed(graph, &order, &ends));
    let is_needed = |name: &str| needed.as_ref().is_none_or(|needed| needed.contains(name));
    for input in names.inputs.iter().filter(|input| is_needed(&input.name)) {
        let shape = input_shape(input, given.get(input.name.as_str()).copied())?;
        let declared = input_shape(input, None).ok();
        if let (Some(&[declared, ..]), &[given, ..]) = (declared.as_deref(), &shape[..])
            && declared != given
        {
            emitter.batch = Some([declared, given]);
        }
        let operand = emitter.input(&input.name, shape);
        let operand = operand.map_err(|error| match error {
            EmitError::Misfit(reason) | EmitError::TooLarge(reason) => input_error(input, reason),
            EmitError::NotFinite { .. } => unreachable!("an input has no data"),
        })?;
        let limits = limits_of(input);
        if let (Operand::Variable(value), Some(limits)) = (&operand, limits) {
            emitter.limits.insert(*value, limits);
        }
        known.insert(&input.name, operand);
        inputs.push(input.name.clone());
        input_limits.push(limits);
    }

    if inputs.is_empty()
        && let Some(name) = options.end_at.first()
    {
        let reason = "it depends on no input of the model".into();
        return Err(ImportError::End { name: name.clone(), reason });
    }

    for &index in &order {
        let proto = &graph.node[index];
        let id = node_id(proto, opset);
        let mut operands = Vec::new();
        for name in &proto.input {
            operands.push(match name.as_str() {
                "" => None,
                name => Some(names.operand(name, &mut known, reader, &mut emitter, || id.to_string())?),
            });
        }
        let outputs = proto.output.iter().filter(|name| !name.is_empty());
        nodes.extend(outputs.map(|name| (name.clone(), id.clone())));
        let earlier = |error| ends::advise(error, graph, &names, &order, index);
        let handler = ops::find(proto, &id).map_err(earlier)?;
        let types = proto.input.iter().map(|name| names.stored_type(graph, name)).collect();
        let before = emitter.func.value_count();
        let mut node = Node::new(id.clone(), proto, operands, types, &mut emitter, reader)?;
        let results = handler(&mut node).map_err(earlier)?;
        node.check_attributes().map_err(earlier)?;
        for (name, result) in proto.output.iter().zip(results) {
            if !name.is_empty() {
                known.insert(name, named(result, name, &mut emitter));
            }
        }
        // What the node needs several ops for is named after it.
        let first = proto.output.iter().find(|name| !name.is_empty());
        for value in (before..emitter.func.value_count()).map(Value::new) {
            if let (None, Some(first)) = (emitter.func.value_name(value), first) {
                let name = format!("{first}/{}", value.index() - before);
                nodes.insert(name.clone(), id.clone());
                emitter.func.set_value_name(value, Some(name));
            }
        }
    }

    let mut outputs = Vec::new();
    let mut output_names = Vec::new();
    for &name in &ends {
        let user = || "the model's output list".to_string();
        let operand = names.operand(name, &mut known, reader, &mut emitter, user)?;
        let operand = named(as_floats(operand, name)?, name, &mut emitter);
        let value = emitter.materialize(&operand).map_err(|error| output_error(error, name))?;
        outputs.push(value);
        output_names.push(name.to_string());
    }
    emitter.func.set_outputs(outputs);
    let tidied = patterns::tidy(&emitter.func, &emitter.decisions);
    let mut func = tidied.map_err(|value| {
        let node = emitter.func.value_name(value).and_then(|name| names.producer(name));
        let decision = emitter.decisions.remove(&value).expect("it is one of these");
        match node {
            Some(index) => ends::advise(decision.error, graph, &names, &order, index),
            None => decision.error,
        }
    })?;
    set_origins(&mut func, &nodes);
    if emitter.has_codes() {
        func.set_fact(QUANTISED, &Some(true));
    }
    let producer = format!("{} {}", model.producer_name, model.producer_version).trim().to_string();
    let notes = emitter.notes.into_iter().collect();
    Ok(Imported { func, inputs, input_limits, outputs: output_names, opset, producer, notes })
}

/// Says which of `nodes`, by the tensors they compute, the values of `func` come from.
fn set_origins(func: &mut Func<Nn>, nodes: &BTreeMap<String, NodeId>) {
    let origin = |data: &OpData<Nn>| {
        let tensor = func.value_name(data.result)?;
        let NodeId { name, op, .. } = nodes.get(tensor)?;
        Some(OnnxNode { tensor: tensor.to_string(), node: name.clone(), op: op.clone() })
    };
    let origins: Vec<OnnxNode> = func.ops().iter().filter_map(origin).collect();
    func.set_fact(ONNX_NODES, &origins);
}

/// Version of the standard operator set, checked.
fn opset(model: &ModelProto) -> Result<i64, ImportError> {
    let standard = model.opset_import.iter().find(|o| is_standard(&o.domain));
    let reason = || "no version of the standard operator set is given; export it again".to_string();
    let found = standard.ok_or_else(|| ImportError::Graph { reason: reason() })?.version;
    match (OLDEST_OPSET..=NEWEST_OPSET).contains(&found) {
        true => Ok(found),
        false => Err(ImportError::Opset { found, oldest: OLDEST_OPSET, newest: NEWEST_OPSET }),
    }
}

/// Whether `domain` is that of the standard operators.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn node_id(proto: &NodeProto, opset: i64) -> NodeId {
    let output = proto.output.iter().find(|name| !name.is_empty());
    let name = if proto.name.is_empty() { output.cloned().unwrap_or_default() } else { proto.name.clone() };
    let standard = is_standard(&proto.domain);
    let op = if standard { proto.op_type.clone() } else { format!("{}.{}", proto.domain, proto.op_type) };
    NodeId { name, op, opset }
}

/// Who defines which name.
pub(super) struct Names<'a> {
    /// Inputs that are not initializers with a default, in order.
    inputs: Vec<&'a ValueInfoProto>,
    initializers: BTreeMap<&'a str, &'a TensorProto>,
    /// Node that computes it.
    producers: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn of(graph: &'a GraphProto) -> Result<Self, ImportError> {
        let twice =
            |name: &str| ImportError::Graph { reason: format!("the tensor `{name}` is defined twice") };
        let mut initializers = BTreeMap::new();
        for tensor in &graph.initializer {
            if initializers.insert(tensor.name.as_str(), tensor).is_some() {
                return Err(twice(&tensor.name));
            }
        }
        let inputs: Vec<_> =
            graph.input.iter().filter(|i| !initializers.contains_key(i.name.as_str())).collect();
        let mut given = BTreeSet::new();
        if let Some(input) = inputs.iter().find(|input| !given.insert(input.name.as_str())) {
            return Err(twice(&input.name));
        }
        let mut producers = BTreeMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let name = name.as_str();
                let other = given.contains(name) || initializers.contains_key(name);
                if other || producers.insert(name, index).is_some() {
                    return Err(twice(name));
                }
            }
        }
        Ok(Names { inputs, initializers, producers })
    }

    /// The node that computes `name`, if one does.
    pub fn producer(&self, name: &str) -> Option<usize> {
        self.producers.get(name).copied()
    }

    /// The type of the stored tensor `name`, an initializer or a constant.
    fn stored_type(&self, graph: &GraphProto, name: &str) -> Option<DataType> {
        if let Some(tensor) = self.initializers.get(name) {
            return data_type(tensor.data_type).ok();
        }
        let node = &graph.node[*self.producers.get(name)?];
        let value = node.attribute.iter().find(|attribute| attribute.name == "value")?;
        (node.op_type == "Constant").then(|| data_type(value.t.data_type).ok()).flatten()
    }

    /// What `name` stands for; stored tensors are decoded when first asked for.
    fn operand<'k>(
        &'k self,
        name: &'k str,
        known: &mut BTreeMap<&'k str, Operand>,
        reader: &TensorReader,
        emitter: &mut Emitter,
        user: impl FnOnce() -> String,
    ) -> Result<Operand, ImportError> {
        if let Some(operand) = known.get(name) {
            return Ok(operand.clone());
        }
        if let Some(tensor) = self.initializers.get(name) {
            let literal = reader.read(tensor, name)?;
            emitter.add_stored(literal.len().saturating_mul(4));
            let operand = constant(literal);
            known.insert(name, operand.clone());
            return Ok(operand);
        }
        match self.producers.contains_key(name) {
            // Its node has run and did not compute it.
            true => Err(ImportError::Graph {
                reason: format!(
                    "{} uses the tensor `{name}`, an optional output that fhec does not compute",
                    user()
                ),
            }),
            false => Err(ImportError::MissingTensor { user: user(), tensor: name.to_string() }),
        }
    }
}

/// The nodes that the ends need, each after those it needs: in the order of the file where that is
/// such an order, which ONNX asks for.
fn order(
    graph: &GraphProto,
    names: &Names<'_>,
    ends: &[&str],
    opset: i64,
) -> Result<Vec<usize>, ImportError> {
    let producer = |name: &str| names.producer(name).map(NodeIndex::new);
    let mut uses: DiGraph<(), ()> = DiGraph::with_capacity(graph.node.len(), graph.node.len());
    graph.node.iter().for_each(|_| {
        uses.add_node(());
    });
    for (user, node) in graph.node.iter().enumerate() {
        node.input.iter().filter_map(|name| producer(name)).for_each(|made| {
            uses.add_edge(made, NodeIndex::new(user), ());
        });
    }
    let backwards = Reversed(&uses);
    let mut search = Dfs::empty(backwards);
    search.stack.extend(ends.iter().filter_map(|name| producer(name)));
    while search.next(backwards).is_some() {}
    let needed = NodeFiltered(&uses, search.discovered);
    if needed.edge_references().all(|edge| edge.source() < edge.target()) {
        return Ok(needed.node_identifiers().map(NodeIndex::index).collect());
    }
    match toposort(&needed, None) {
        Ok(order) => Ok(order.into_iter().map(NodeIndex::index).collect()),
        Err(cycle) => Err(ImportError::Cycle { node: node_id(&graph.node[cycle.node_id().index()], opset) }),
    }
}

fn input_error(input: &ValueInfoProto, reason: String) -> ImportError {
    ImportError::Input { name: input.name.clone(), reason }
}

/// The shapes that `options` give, each for an input that is there and of as many dimensions as the
/// model says.
fn given_shapes<'a>(
    names: &Names<'a>,
    options: &'a ImportOptions,
) -> Result<BTreeMap<&'a str, &'a [usize]>, ImportError> {
    let mut given = BTreeMap::new();
    for (name, shape) in &options.input_shapes {
        let error = |reason: String| ImportError::Input { name: name.clone(), reason };
        let known = || names.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join("`, `");
        let input = match names.inputs[..] {
            [only] if name.is_empty() => Some(only),
            _ => names.inputs.iter().copied().find(|input| input.name == *name),
        };
        let what =
            if name.is_empty() { "a shape without a name is given" } else { "a shape is given for it" };
        let input = input.ok_or_else(|| error(format!("{what}, the inputs are `{}`", known())))?;
        let rank = input.type_.as_ref().filter(|ty| ty.has_tensor_type() && ty.tensor_type().shape.is_some());
        let rank = rank.map(|ty| ty.tensor_type().shape.dim.len());
        if shape.contains(&0) || rank.is_some_and(|rank| rank != shape.len()) {
            let dimensions = rank.map_or("any number of".into(), |rank| rank.to_string());
            return Err(input_error(
                input,
                format!("the shape {shape:?} is given for it, it has {dimensions} dimensions of at least 1"),
            ));
        }
        if given.insert(input.name.as_str(), shape.as_slice()).is_some() {
            return Err(input_error(input, "two shapes are given for it".into()));
        }
    }
    Ok(given)
}

/// Shape of an input; an open first dimension is the batch and becomes 1.
fn input_shape(input: &ValueInfoProto, given: Option<&[usize]>) -> Result<Vec<usize>, ImportError> {
    let error = |reason: String| input_error(input, reason);
    let Some(type_proto::Value::TensorType(ty)) = input.type_.as_ref().and_then(|ty| ty.value.as_ref())
    else {
        return Err(error("it is no tensor; only tensors of floats can be encrypted".into()));
    };
    let element = data_type(ty.elem_type).map_err(error)?;
    if matches!(element, DataType::BOOL) {
        let advice = "let the network take numbers";
        return Err(error(format!("its elements are {element:?}; {advice}")));
    }
    if let Some(shape) = given {
        return Ok(shape.to_vec());
    }
    let advice = "give the input's shape (--input-shape 1,3,32,32)";
    let shape = ty.shape.as_ref().ok_or_else(|| error(format!("it has no shape; {advice}")))?;
    let mut dimensions = Vec::new();
    for (axis, dimension) in shape.dim.iter().enumerate() {
        let size = match &dimension.value {
            Some(dimension::Value::DimValue(size)) if *size > 0 => usize::try_from(*size).ok(),
            _ if axis == 0 => Some(1),
            _ => None,
        };
        let symbol = match &dimension.value {
            Some(dimension::Value::DimParam(name)) => format!(" (`{name}`)"),
            _ => String::new(),
        };
        let open = || error(format!("dimension {axis}{symbol} is open; only the batch may be, {advice}"));
        dimensions.push(size.ok_or_else(open)?);
    }
    Ok(dimensions)
}

/// Least and largest number that an input of integers takes.
fn limits_of(input: &ValueInfoProto) -> Option<[i64; 2]> {
    let Some(type_proto::Value::TensorType(ty)) = input.type_.as_ref()?.value.as_ref() else { return None };
    integer_limits(data_type(ty.elem_type).ok()?)
}

/// Gives `operand` the name of the output it is, unless it already has one.
fn named(operand: Operand, name: &str, emitter: &mut Emitter) -> Operand {
    match operand {
        Operand::Variable(value) => {
            if emitter.func.value_name(value).is_none() {
                emitter.func.set_value_name(value, Some(name.to_string()));
            }
            operand
        }
        Operand::Constant(literal) if literal.name.is_empty() => {
            let mut literal = (*literal).clone();
            literal.name = name.to_string();
            constant(literal)
        }
        other => other,
    }
}

/// An output that is integers known now, as the floats that values are.
fn as_floats(operand: Operand, name: &str) -> Result<Operand, ImportError> {
    let Operand::Constant(literal) = &operand else { return Ok(operand) };
    let Elements::Int(values) = &literal.elements else { return Ok(operand) };
    const EXACT: i64 = 1 << 24;
    if values.iter().any(|value| value.unsigned_abs() > EXACT.unsigned_abs()) {
        let reason = format!("the output `{name}` holds integers beyond 2^24, which floats cannot");
        return Err(ImportError::Graph { reason });
    }
    let data: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let tensor = Tensor::new(literal.shape.clone(), data).expect("a literal holds its shape");
    let mut floats = super::literal::Literal::float(&tensor);
    floats.name = name.to_string();
    Ok(constant(floats))
}

fn output_error(error: EmitError, name: &str) -> ImportError {
    match error {
        EmitError::NotFinite { tensor, position, value } => {
            ImportError::NotFinite { tensor, position, value }
        }
        EmitError::Misfit(reason) | EmitError::TooLarge(reason) => {
            ImportError::Graph { reason: format!("output `{name}`: {reason}") }
        }
    }
}

/// The graph's name as a word of the text form.
fn func_name(name: &str) -> String {
    let word: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' })
        .take(64)
        .collect();
    let starts_well = word.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts_well && !matches!(word.as_str(), "inf" | "NaN") { word } else { format!("network_{word}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of nodes `(inputs, output)` for the output `y`.
    fn order_of(nodes: &[(&[&str], &str)]) -> Result<Vec<usize>, String> {
        let mut graph = GraphProto::new();
        for (inputs, output) in nodes {
            let mut node = NodeProto::new();
            node.name = format!("node of {output}");
            node.input = inputs.iter().map(|name| name.to_string()).collect();
            node.output = vec![output.to_string()];
            graph.node.push(node);
        }
        let names = Names::of(&graph).unwrap();
        order(&graph, &names, &["y"], NEWEST_OPSET).map_err(|error| match error {
            ImportError::Cycle { node } => node.name,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn nodes_are_done_as_in_the_file_and_only_if_needed() {
        let nodes: [(&[&str], &str); 5] =
            [(&["x"], "b"), (&["x"], "a"), (&["a"], "unused"), (&["a", "b"], "c"), (&["c", "b"], "y")];
        assert_eq!(order_of(&nodes), Ok(vec![0, 1, 3, 4]));
    }

    #[test]
    fn nodes_of_a_file_without_order_are_done_after_what_they_need() {
        let nodes: [(&[&str], &str); 4] =
            [(&["c", "b"], "y"), (&["x"], "a"), (&["a", "a"], "c"), (&["a"], "b")];
        let order = order_of(&nodes).unwrap();
        let place = |index: usize| order.iter().position(|&other| other == index).unwrap();
        assert_eq!(order.len(), 4);
        assert!(place(1) < place(2) && place(1) < place(3) && place(2) < place(0) && place(3) < place(0));
    }

    #[test]
    fn a_node_of_a_cycle_is_named_if_the_cycle_is_needed() {
        // The cycle is of the first two; the last only depends on it.
        let nodes: [(&[&str], &str); 3] = [(&["b"], "a"), (&["a", "x"], "b"), (&["b"], "y")];
        let named = order_of(&nodes).unwrap_err();
        assert!(["node of a", "node of b"].contains(&named.as_str()), "{named}");
        assert_eq!(order_of(&[(&["y"], "y")]), Err("node of y".into()));
        let aside: [(&[&str], &str); 3] = [(&["b"], "a"), (&["a"], "b"), (&["x"], "y")];
        assert_eq!(order_of(&aside), Ok(vec![2]));
    }

    #[test]
    fn names_become_words() {
        assert_eq!(func_name("torch_jit"), "torch_jit");
        assert_eq!(func_name("main graph/1"), "main_graph_1");
        assert_eq!(func_name(""), "network_");
        assert_eq!(func_name("7net"), "network_7net");
        assert_eq!(func_name("inf"), "network_inf");
    }
}
