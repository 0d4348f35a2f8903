//! Where a network ends: at the model's outputs, or earlier where that is asked for.
//!
//! Detectors end in a search for the best boxes, graphs of a training in a count of right answers.
//! Neither has a form under encryption, and neither needs one: whoever decrypts can do it.

use std::collections::BTreeSet;

use onnx_protobuf::{GraphProto, NodeProto};

use super::ImportOptions;
use super::error::ImportError;
use super::graph::Names;

/// Operators with weights. What comes after the last of them is no network of its own.
const LAYERS: [&str; 12] = [
    "Attention",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "GRU",
    "Gemm",
    "LSTM",
    "MatMul",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
];

/// The tensors that the network ends at.
pub(super) fn ends<'a>(
    graph: &'a GraphProto,
    names: &Names<'a>,
    options: &'a ImportOptions,
) -> Result<Vec<&'a str>, ImportError> {
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    if options.end_at.is_empty() {
        return match outputs.is_empty() {
            true => Err(ImportError::Graph { reason: "there is no output".into() }),
            false => Ok(outputs),
        };
    }
    let mut ends = Vec::new();
    for name in options.end_at.iter().map(String::as_str) {
        let error = |reason| Err(ImportError::End { name: name.into(), reason });
        if names.producer(name).is_none() {
            return error(format!("no node computes it; the model's outputs are `{}`", outputs.join("`, `")));
        }
        if ends.contains(&name) {
            return error("it is given twice".into());
        }
        ends.push(name);
    }
    Ok(ends)
}

/// The tensors that the nodes `order` take, and the ends themselves.
pub(super) fn needed<'a>(graph: &'a GraphProto, order: &[usize], ends: &[&'a str]) -> BTreeSet<&'a str> {
    let operands = order.iter().flat_map(|&index| graph.node[index].input.iter().map(String::as_str));
    operands.chain(ends.iter().copied()).collect()
}

/// Adds to `error`, of the node `index`, where the network could end instead, if the node comes
/// after the last layer. `order` lists the nodes that are needed.
pub(super) fn advise(
    error: ImportError,
    graph: &GraphProto,
    names: &Names<'_>,
    order: &[usize],
    index: usize,
) -> ImportError {
    let is_layer = |node: &NodeProto| LAYERS.contains(&node.op_type.as_str());
    let mut after = BTreeSet::from([index]);
    // Nodes after their operands: one pass finds all that depend on the node.
    let place = order.iter().position(|&other| other == index).map_or(order.len(), |place| place + 1);
    for &other in &order[place..] {
        let node = &graph.node[other];
        if node.input.iter().filter_map(|name| names.producer(name)).any(|made| after.contains(&made)) {
            if is_layer(node) {
                return error;
            }
            after.insert(other);
        }
    }
    let mut of_layers = BTreeSet::new();
    for &other in &order[..place] {
        let node = &graph.node[other];
        let mut operands = node.input.iter().filter_map(|name| names.producer(name));
        if is_layer(node) || operands.any(|made| of_layers.contains(&made)) {
            of_layers.insert(other);
        }
    }
    let operands = graph.node[index].input.iter();
    let ends: BTreeSet<&str> = operands
        .filter(|name| names.producer(name).is_some_and(|made| made != index && of_layers.contains(&made)))
        .map(String::as_str)
        .collect();
    let ends: Vec<String> = ends.iter().map(|name| format!("--end-at {name}")).collect();
    if ends.is_empty() {
        return error;
    }
    error.with_remedy(&format!("or end the network before this node: {}", ends.join(" ")))
}
