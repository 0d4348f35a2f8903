//! What the translation of one node works with: its inputs, its attributes, and the emitter.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::nn::{Activation, Nn, Op};
use fhec_ir::tensor::Tensor;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{AttributeProto, NodeProto};

use super::emit::{Decision, EmitError, Emitter, weight};
use super::error::{ImportError, NodeId};
use super::literal::{Literal, Operand};
use super::tensor::TensorReader;

/// Translates one node; returns its outputs, as many as it knows.
pub(super) type Handler = fn(&mut Node<'_>) -> Result<Vec<Operand>, ImportError>;

pub(super) struct Node<'a> {
    pub id: NodeId,
    pub emitter: &'a mut Emitter,
    pub reader: &'a TensorReader,
    /// `None` where an optional input is left out.
    inputs: Vec<Option<Operand>>,
    attributes: BTreeMap<&'a str, &'a AttributeProto>,
    /// Attributes that the translation has looked at.
    seen: BTreeSet<String>,
    /// How many outputs the model has a place for.
    outputs: usize,
    /// Types of those inputs that are stored.
    types: Vec<Option<DataType>>,
}

impl<'a> Node<'a> {
    pub fn new(
        id: NodeId,
        proto: &'a NodeProto,
        inputs: Vec<Option<Operand>>,
        types: Vec<Option<DataType>>,
        emitter: &'a mut Emitter,
        reader: &'a TensorReader,
    ) -> Result<Self, ImportError> {
        let mut attributes = BTreeMap::new();
        for attribute in &proto.attribute {
            if attributes.insert(attribute.name.as_str(), attribute).is_some() {
                let reason = format!("the attribute `{}` is given twice", attribute.name);
                return Err(ImportError::Invalid { node: id, reason });
            }
        }
        let outputs = proto.output.len();
        Ok(Node { id, emitter, reader, inputs, attributes, seen: BTreeSet::new(), outputs, types })
    }

    /// How many outputs the model has a place for.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Version of the operator set.
    pub fn opset(&self) -> i64 {
        self.id.opset
    }

    // Errors.

    pub fn invalid(&self, reason: impl Into<String>) -> ImportError {
        ImportError::Invalid { node: self.id.clone(), reason: reason.into() }
    }

    pub fn unsupported(&self, what: impl Into<String>, instead: impl Into<String>) -> ImportError {
        ImportError::Unsupported { node: self.id.clone(), what: what.into(), instead: instead.into() }
    }

    fn emit_error(&self, error: EmitError) -> ImportError {
        let node = self.id.clone();
        match error {
            EmitError::Misfit(reason) => ImportError::Invalid { node, reason },
            EmitError::TooLarge(reason) => ImportError::TooLarge { node, reason },
            EmitError::NotFinite { tensor, position, value } => {
                let named = format!("computed for {node}");
                let tensor = if tensor.is_empty() { named } else { tensor };
                ImportError::NotFinite { tensor, position, value }
            }
        }
    }

    // Inputs.

    /// All inputs; none may be left out.
    pub fn all_inputs(&self) -> Result<Vec<Operand>, ImportError> {
        (0..self.inputs.len()).map(|index| self.input(index)).collect()
    }

    pub fn input(&self, index: usize) -> Result<Operand, ImportError> {
        self.optional(index).ok_or_else(|| self.invalid(format!("input {index} is missing")))
    }

    pub fn optional(&self, index: usize) -> Option<Operand> {
        self.inputs.get(index).cloned().flatten()
    }

    /// The type of input `index` in the model, if it is stored there.
    pub fn stored_type(&self, index: usize) -> Option<DataType> {
        self.types.get(index).copied().flatten()
    }

    /// Says something about the import as a whole, once.
    pub fn note(&mut self, note: &str) {
        self.emitter.notes.insert(note.to_string());
    }

    pub fn shape_of(&self, operand: &Operand) -> Vec<usize> {
        self.emitter.shape(operand).to_vec()
    }

    /// Input `index`, which must be known now; `what` names it in errors.
    pub fn literal(&self, index: usize, what: &str) -> Result<Rc<Literal>, ImportError> {
        match self.input(index)? {
            Operand::Constant(literal) => Ok(literal),
            Operand::Variable(_) => Err(self.unsupported(
                format!("a {what} that depends on the network's input"),
                format!("make the {what} an initializer or a constant"),
            )),
        }
    }

    /// Input `index`, which must be constant finite floats.
    pub fn weight(&self, index: usize, what: &str) -> Result<Tensor, ImportError> {
        weight(&*self.literal(index, what)?).map_err(|error| self.emit_error(error))
    }

    /// [`Node::weight`] of an input that may be left out.
    pub fn optional_weight(&self, index: usize, what: &str) -> Result<Option<Tensor>, ImportError> {
        self.optional(index).map(|_| self.weight(index, what)).transpose()
    }

    /// Input `index`, which must be constant integers: a vector or a scalar.
    pub fn ints(&self, index: usize, what: &str) -> Result<Vec<i64>, ImportError> {
        let literal = self.literal(index, what)?;
        let ints = literal.as_ints().filter(|_| literal.shape.len() <= 1);
        let ints = ints.ok_or_else(|| self.invalid(format!("the {what} must be a vector of integers")))?;
        Ok(ints.to_vec())
    }

    /// [`Node::ints`] of an input that may be left out.
    pub fn optional_ints(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>, ImportError> {
        self.optional(index).map(|_| self.ints(index, what)).transpose()
    }

    /// Input `index`, which may be left out, as one constant number.
    pub fn optional_number(&self, index: usize, what: &str) -> Result<Option<f64>, ImportError> {
        if self.optional(index).is_none() {
            return Ok(None);
        }
        let literal = self.literal(index, what)?;
        let number = match (literal.as_tensor(), literal.as_ints()) {
            (Some(tensor), _) if tensor.data().len() == 1 => f64::from(tensor.data()[0]),
            (_, Some(&[integer])) => integer as f64,
            _ => return Err(self.invalid(format!("the {what} must be one number"))),
        };
        Ok(Some(number))
    }

    // Attributes. Each accessor fails on an attribute of another type.

    fn attribute(
        &mut self,
        name: &str,
        ty: AttributeType,
    ) -> Result<Option<&'a AttributeProto>, ImportError> {
        self.seen.insert(name.to_string());
        let Some(&attribute) = self.attributes.get(name) else { return Ok(None) };
        if !attribute.ref_attr_name.is_empty() {
            return Err(self.unsupported(format!("the attribute reference `{name}`"), "inline functions"));
        }
        match attribute.type_.enum_value() {
            Ok(found) if found == ty => Ok(Some(attribute)),
            Ok(found) => Err(self.invalid(format!("attribute `{name}` has type {found:?}, not {ty:?}"))),
            Err(found) => Err(self.invalid(format!("attribute `{name}` has the unknown type {found}"))),
        }
    }

    pub fn has_attr(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    pub fn int(&mut self, name: &str) -> Result<Option<i64>, ImportError> {
        Ok(self.attribute(name, AttributeType::INT)?.map(|a| a.i))
    }

    pub fn int_or(&mut self, name: &str, default: i64) -> Result<i64, ImportError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// An integer attribute that is 0 or 1.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, ImportError> {
        match self.int_or(name, default.into())? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.invalid(format!("attribute `{name}` is {other}, expected 0 or 1"))),
        }
    }

    pub fn int_list(&mut self, name: &str) -> Result<Option<Vec<i64>>, ImportError> {
        Ok(self.attribute(name, AttributeType::INTS)?.map(|a| a.ints.clone()))
    }

    /// A finite float attribute.
    pub fn float_or(&mut self, name: &str, default: f64) -> Result<f64, ImportError> {
        let value = self.number_or(name, default)?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.invalid(format!("attribute `{name}` is {value}, expected a finite number")))
        }
    }

    /// A float attribute that may be infinite or NaN.
    pub fn number_or(&mut self, name: &str, default: f64) -> Result<f64, ImportError> {
        Ok(self.attribute(name, AttributeType::FLOAT)?.map_or(default, |a| a.f.into()))
    }

    pub fn float_list(&mut self, name: &str) -> Result<Option<Vec<f32>>, ImportError> {
        Ok(self.attribute(name, AttributeType::FLOATS)?.map(|a| a.floats.clone()))
    }

    pub fn text_or(&mut self, name: &str, default: &str) -> Result<String, ImportError> {
        let attribute = self.attribute(name, AttributeType::STRING)?;
        Ok(attribute.map_or(default.to_string(), |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    pub fn tensor(&mut self, name: &str) -> Result<Option<Literal>, ImportError> {
        let Some(attribute) = self.attribute(name, AttributeType::TENSOR)? else { return Ok(None) };
        let Some(tensor) = attribute.t.as_ref() else {
            return Err(self.invalid(format!("attribute `{name}` holds no tensor")));
        };
        Ok(Some(self.reader.read(tensor, &self.id.name)?))
    }

    /// Marks attributes as seen that say nothing about the result of inference.
    pub fn ignore(&mut self, names: &[&str]) {
        self.seen.extend(names.iter().map(|name| name.to_string()));
    }

    /// Fails on an attribute that the translation has not looked at: its meaning would be lost.
    pub fn check_attributes(&self) -> Result<(), ImportError> {
        match self.attributes.keys().find(|&&name| !self.seen.contains(name)) {
            None => Ok(()),
            Some(name) => Err(self.unsupported(format!("the attribute `{name}`"), "export without it")),
        }
    }

    // Results.

    /// Takes note of a constant of `count` elements that is about to be computed.
    pub fn reserve(&mut self, count: usize) -> Result<(), ImportError> {
        self.emitter.take_folded(count).map_err(|error| self.emit_error(error))
    }

    /// A constant operand as finite floats.
    pub fn finite(&self, operand: &Operand) -> Result<Tensor, ImportError> {
        match operand {
            Operand::Constant(literal) => weight(literal).map_err(|error| self.emit_error(error)),
            Operand::Variable(_) => unreachable!("only constants are asked for"),
        }
    }

    pub fn emit(
        &mut self,
        operands: &[&Operand],
        build: impl FnOnce(&mut Func<Nn>, &[Value]) -> Op,
    ) -> Result<Operand, ImportError> {
        self.emitter.emit(operands, build).map_err(|error| self.emit_error(error))
    }

    /// `operand` under `shape`, itself if it has that shape.
    pub fn reshape(&mut self, operand: &Operand, shape: Vec<usize>) -> Result<Operand, ImportError> {
        if self.emitter.shape(operand) == shape {
            return Ok(operand.clone());
        }
        if let Operand::Constant(literal) = operand {
            let misfit = || self.invalid(format!("shape {:?} cannot become {shape:?}", literal.shape));
            return literal.reshaped(shape.clone()).map(constant).ok_or_else(misfit);
        }
        self.emit(&[operand], |_, v| Op::Reshape { x: v[0], shape })
    }

    /// `operand` with its dimensions in the order of `permutation`, which is one.
    pub fn transpose(&mut self, operand: &Operand, permutation: Vec<usize>) -> Result<Operand, ImportError> {
        if permutation.iter().copied().eq(0..permutation.len()) {
            return Ok(operand.clone());
        }
        if let Operand::Constant(literal) = operand {
            self.reserve(literal.len())?;
            return Ok(constant(literal.transposed(&permutation)));
        }
        self.emit(&[operand], |_, v| Op::Transpose { x: v[0], permutation })
    }

    /// `x + y` with numpy broadcasting.
    pub fn add(&mut self, x: &Operand, y: &Operand) -> Result<Operand, ImportError> {
        self.emit(&[x, y], |_, v| Op::Add { x: v[0], y: v[1] })
    }

    /// `x - y` with numpy broadcasting.
    pub fn sub(&mut self, x: &Operand, y: &Operand) -> Result<Operand, ImportError> {
        self.emit(&[x, y], |_, v| Op::Sub { x: v[0], y: v[1] })
    }

    /// `x * y` with numpy broadcasting.
    pub fn mul(&mut self, x: &Operand, y: &Operand) -> Result<Operand, ImportError> {
        self.emit(&[x, y], |_, v| Op::Mul { x: v[0], y: v[1] })
    }

    /// `factor x`, `x` itself if that is the same.
    pub fn scaled(&mut self, x: &Operand, factor: f64) -> Result<Operand, ImportError> {
        if factor == 1.0 { Ok(x.clone()) } else { self.mul(x, &scalar(factor)) }
    }

    /// `function` of every element.
    pub fn activation(&mut self, x: &Operand, function: Activation) -> Result<Operand, ImportError> {
        self.emit(&[x], |_, v| Op::Activation { x: v[0], function })
    }

    /// 1 where `holds` of the elements of `x` and `y`, 0 elsewhere: a jump, for which there is a
    /// polynomial only as a part of an activation without one. Otherwise the error is that `what`
    /// is not supported.
    pub fn decision(
        &mut self,
        [x, y]: [&Operand; 2],
        holds: fn(f64, f64) -> bool,
        what: &str,
    ) -> Result<Operand, ImportError> {
        let error = self.unsupported(
            what,
            "it is a jump, which no polynomial is near to; use Relu, Clip or Sigmoid, or fold constants before \
             (onnx-simplifier) if it only computes shapes",
        );
        let floats = |operand: &Operand| match operand {
            Operand::Constant(literal) => constant(literal.to_floats()),
            Operand::Variable(_) => operand.clone(),
        };
        let decided = self.sub(&floats(x), &floats(y))?;
        if let Operand::Variable(value) = decided {
            self.emitter.decisions.insert(value, Decision { holds, error });
        }
        Ok(decided)
    }

    /// A matrix `[M, K]` along each of some dimensions.
    pub fn axis_matrices(
        &mut self,
        x: &Operand,
        matrices: Vec<(usize, Tensor)>,
    ) -> Result<Operand, ImportError> {
        if matrices.is_empty() {
            return Ok(x.clone());
        }
        self.emit(&[x], |func, v| {
            let (axes, weights): (Vec<usize>, Vec<Tensor>) = matrices.into_iter().unzip();
            let weights = weights.into_iter().map(|matrix| func.add_const(matrix)).collect();
            Op::AxisMatrices { x: v[0], axes, weights }
        })
    }

    /// A dimension of `rank` that the attribute `axis` names.
    pub fn axis_or(&mut self, default: i64, rank: usize, end_too: bool) -> Result<usize, ImportError> {
        let axis = self.int_or("axis", default)?;
        self.axis(axis, rank, end_too)
    }

    /// A position counted from the end if negative; `rank` itself only if `end_too`.
    pub fn axis(&self, axis: i64, rank: usize, end_too: bool) -> Result<usize, ImportError> {
        let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let limit = rank + usize::from(end_too);
        let position = counted.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < limit);
        position.ok_or_else(|| self.invalid(format!("axis {axis} does not exist in {rank} dimensions")))
    }

    /// [`Node::axis`] of each of `axes`, increasing; a repetition is an error.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, ImportError> {
        let positions: Result<BTreeSet<usize>, _> =
            axes.iter().map(|&axis| self.axis(axis, rank, false)).collect();
        let positions = positions?;
        if positions.len() != axes.len() {
            return Err(self.invalid(format!("the axes {axes:?} repeat one")));
        }
        Ok(positions.into_iter().collect())
    }

    /// `values` as `K` sizes, each below 2^31.
    pub fn sizes<const K: usize>(&self, values: &[i64], what: &str) -> Result<[usize; K], ImportError> {
        let sizes: Option<Vec<usize>> =
            values.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v < 1 << 31)).collect();
        let sizes = sizes.and_then(|sizes| <[usize; K]>::try_from(sizes).ok());
        sizes.ok_or_else(|| {
            self.invalid(format!("{what} {values:?} must be {K} numbers that are not negative"))
        })
    }
}

/// One number as an operand.
pub(super) fn scalar(value: f64) -> Operand {
    constant(Literal::float(&Tensor::scalar(value as f32)))
}

/// A literal as an operand.
pub(super) fn constant(literal: Literal) -> Operand {
    Operand::Constant(Rc::new(literal))
}
