//! The table of operators: name to translation, one file per family.

use std::collections::BTreeSet;

use fhec_ir::nn::Activation;
use onnx_protobuf::NodeProto;

use super::error::{ImportError, NodeId};
use super::graph::is_standard;
use super::node::Handler;

mod activation;
mod arithmetic;
mod constant;
mod conv;
mod linear;
mod movement;
mod norm;
mod pool;
mod select;
mod shape;
mod window;

/// Supported operators, alphabetically; besides, those of the rows of
/// [`activation::TABLE`](fhec_ir::nn::activation::TABLE) are.
const TABLE: &[(&str, Handler)] = &[
    ("Add", arithmetic::add),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", norm::batch_normalization),
    ("Cast", constant::cast),
    ("Clip", activation::clip),
    ("Concat", movement::concat),
    ("Constant", constant::constant_op),
    ("ConstantOfShape", constant::constant_of_shape),
    ("Conv", conv::conv),
    ("Div", arithmetic::div),
    ("Dropout", activation::dropout),
    ("Flatten", shape::flatten),
    ("Gather", select::gather),
    ("Gelu", activation::gelu),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", pool::global_average_pool),
    ("GlobalMaxPool", pool::global_max_pool),
    ("Identity", activation::identity),
    ("MatMul", linear::matmul),
    ("MaxPool", pool::max_pool),
    ("Mul", arithmetic::mul),
    ("Neg", arithmetic::neg),
    ("PRelu", activation::prelu),
    ("Pad", movement::pad),
    ("Pow", arithmetic::pow),
    ("ReduceMean", norm::reduce_mean),
    ("Reshape", shape::reshape),
    ("Shape", shape::shape),
    ("Size", shape::size),
    ("Slice", select::slice),
    ("Softmax", norm::softmax),
    ("Sqrt", arithmetic::sqrt),
    ("Squeeze", shape::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::sum),
    ("Swish", activation::swish),
    ("Transpose", movement::transpose),
    ("Unsqueeze", shape::unsqueeze),
];

/// What to do instead of an unsupported operator.
const HINTS: &[(&[&str], &str)] = &[
    (&["Softsign", "ThresholdedRelu"], "train with Tanh, Relu, LeakyRelu or Swish"),
    (
        &["InstanceNormalization", "GroupNormalization", "LayerNormalization", "LRN", "LpNormalization"],
        "train with BatchNormalization, whose statistics are constant at inference",
    ),
    (&["ConvTranspose", "Resize", "Upsample"], "use Conv with strides; growing images is not supported"),
    (&["Max", "Min"], "use Relu or Clip with constant bounds, or MaxPool"),
    (&["GlobalLpPool", "LpPool"], "use AveragePool or MaxPool"),
    (&["LogSoftmax", "Hardmax", "ArgMax", "TopK"], "end the network at its logits or at Softmax"),
    (
        &["ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceProd"],
        "use ReduceMean, GlobalAveragePool or GlobalMaxPool",
    ),
    (&["DepthToSpace", "SpaceToDepth"], "write it as Reshape, Transpose, Reshape"),
    (&["Split", "GatherElements", "GatherND"], "use Slice"),
    (&["LSTM", "GRU", "RNN", "Loop", "If", "Scan"], "unroll it, or export with constant control flow"),
    (
        &["QLinearConv", "QuantizeLinear", "DequantizeLinear", "ConvInteger", "QLinearMatMul"],
        "export the float network, quantization happens inside fhec",
    ),
    (
        &[
            "Expand",
            "Range",
            "Equal",
            "Where",
            "Tile",
            "Floor",
            "Ceil",
            "Mod",
            "CastLike",
            "NonZero",
            "ScatterND",
        ],
        "if it only computes shapes, fold constants before (onnx-simplifier)",
    ),
    (&["Attention", "Einsum"], "fhec compiles convolutional networks"),
];

/// The translation of a node's operator.
pub(super) fn find(proto: &NodeProto, id: &NodeId) -> Result<Handler, ImportError> {
    let row = || Activation::of_onnx(&proto.op_type).map(|_| activation::of_table as Handler);
    let handler = |name: &str| {
        let entry = TABLE.iter().find(|(known, _)| *known == name);
        entry.map(|(_, handler)| *handler).or_else(row)
    };
    let found = is_standard(&proto.domain).then(|| handler(&proto.op_type)).flatten();
    found.ok_or_else(|| {
        let hint = HINTS.iter().find(|(names, _)| names.contains(&proto.op_type.as_str()));
        let hint = match hint {
            Some((_, hint)) => *hint,
            None if is_standard(&proto.domain) => "rewrite the network with supported operators",
            None => "export with standard operators, without the runtime's own fused ones",
        };
        ImportError::UnsupportedOp {
            node: id.clone(),
            hint: hint.to_string(),
            supported: supported_operators(),
        }
    })
}

/// Names of all supported operators, alphabetically.
pub fn supported_operators() -> Vec<&'static str> {
    let rows = fhec_ir::nn::activation::TABLE.iter().map(|function| function.onnx);
    let all: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).chain(rows).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_hints_are_about_others() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        let hinted = HINTS.iter().flat_map(|(names, _)| names.iter());
        for name in hinted {
            assert!(!supported_operators().contains(name), "{name}");
        }
    }
}
