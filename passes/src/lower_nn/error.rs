//! Why a network cannot be lowered.

use std::collections::BTreeSet;

use fhec_ir::nn::activation::TABLE;
use thiserror::Error;

/// Names the op as ONNX and as the IR call it, the tensor it computes, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot lower {}: {reason}", subject(op, value, node.as_deref()))]
pub struct LowerError {
    /// Mnemonic of the op, or the step of lowering that failed.
    pub op: String,
    /// Its result's name in the network, or its number.
    pub value: String,
    /// The node of the ONNX model that it comes from, by name and operator, if that is known.
    pub node: Option<Box<(String, String)>>,
    /// What is in the way, and what can be done.
    pub reason: String,
}

/// What a network may consist of, in the words of ONNX: ends the messages about ops that can never
/// be lowered.
pub fn lowerable() -> String {
    let activations: BTreeSet<&str> = TABLE.iter().map(|function| function.onnx).collect();
    let activations: Vec<&str> = activations.into_iter().collect();
    format!(
        "what can be lowered: Conv, ConvTranspose, Gemm, MatMul with a constant, BatchNormalization, Add, Sub, Mul, \
         Div, AveragePool, GlobalAveragePool, ReduceMean, Resize, Pad, Slice, Concat, Flatten, Reshape, Squeeze, \
         Unsqueeze, Transpose, and by polynomials {}, and MaxPool; what cannot: Softmax before the network's end, ArgMax before it, MatMul of two encrypted tensors",
        activations.join(", ")
    )
}

/// The operator of ONNX that does what an op does, for networks that do not say which nodes they
/// come from.
fn onnx_operator(mnemonic: &str) -> Option<&'static str> {
    Some(match mnemonic {
        "conv2d" => "Conv",
        "conv_transpose2d" => "ConvTranspose",
        "dense" => "Gemm",
        "batch_norm" => "BatchNormalization",
        "constant" => "Constant",
        "matmul" => "MatMul",
        "add" => "Add",
        "sub" => "Sub",
        "mul" => "Mul",
        "div" => "Div",
        "softmax" => "Softmax",
        "log_softmax" => "LogSoftmax",
        "arg_max" => "ArgMax",
        "max_pool" => "MaxPool",
        "average_pool" => "AveragePool",
        "reduce_mean" => "ReduceMean",
        "pad" => "Pad",
        "reshape" => "Reshape",
        "transpose" => "Transpose",
        "concat" => "Concat",
        "slice" => "Slice",
        name => TABLE.iter().find(|function| function.name == name)?.onnx,
    })
}

fn subject(op: &str, value: &str, node: Option<&(String, String)>) -> String {
    match (node, onnx_operator(op)) {
        (Some((name, operator)), _) => {
            format!("the node `{name}` ({operator}), which computes the tensor `{value}` (`{op}`)")
        }
        (None, Some(operator)) => format!("the {operator} that computes the tensor `{value}` (`{op}`)"),
        (None, None) => format!("`{op}` (result `{value}`)"),
    }
}
