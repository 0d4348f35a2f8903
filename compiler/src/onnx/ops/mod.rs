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
mod einsum;
mod linear;
mod logic;
mod movement;
mod norm;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod select;
mod shape;
mod softmax;
mod window;

pub(super) use quantize::Code;

/// Supported operators, alphabetically; besides, those of the rows of
/// [`activation::TABLE`](fhec_ir::nn::activation::TABLE) are.
const TABLE: &[(&str, Handler)] = &[
    ("Abs", activation::abs),
    ("Add", arithmetic::add),
    ("And", logic::and),
    ("ArgMax", reduce::arg_max),
    ("ArgMin", reduce::arg_min),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", norm::batch_normalization),
    ("Cast", constant::cast),
    ("Ceil", logic::ceil),
    ("Clip", activation::clip),
    ("Concat", movement::concat),
    ("Constant", constant::constant_op),
    ("ConstantOfShape", constant::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvInteger", quantize::conv_integer),
    ("ConvTranspose", conv::conv_transpose),
    ("DepthToSpace", movement::depth_to_space),
    ("DequantizeLinear", quantize::dequantize_linear),
    ("Div", arithmetic::div),
    ("Dropout", activation::dropout),
    ("DynamicQuantizeLinear", quantize::dynamic_quantize_linear),
    ("Einsum", einsum::einsum),
    ("Equal", logic::equal),
    ("Expand", movement::expand),
    ("Flatten", shape::flatten),
    ("Floor", logic::floor),
    ("Gather", select::gather),
    ("Gelu", activation::gelu),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", pool::global_average_pool),
    ("GlobalMaxPool", pool::global_max_pool),
    ("Greater", logic::greater),
    ("GreaterOrEqual", logic::greater_or_equal),
    ("GroupNormalization", norm::group_normalization),
    ("Identity", activation::identity),
    ("InstanceNormalization", norm::instance_normalization),
    ("LRN", norm::lrn),
    ("LayerNormalization", norm::layer_normalization),
    ("Less", logic::less),
    ("LessOrEqual", logic::less_or_equal),
    ("Log", activation::log),
    ("LogSoftmax", softmax::log_softmax),
    ("LpNormalization", norm::lp_normalization),
    ("MatMul", linear::matmul),
    ("MatMulInteger", quantize::matmul_integer),
    ("Max", arithmetic::max),
    ("MaxPool", pool::max_pool),
    ("Mean", arithmetic::mean),
    ("MeanVarianceNormalization", norm::mean_variance_normalization),
    ("Min", arithmetic::min),
    ("Mul", arithmetic::mul),
    ("Neg", arithmetic::neg),
    ("Not", logic::not),
    ("Or", logic::or),
    ("PRelu", activation::prelu),
    ("Pad", movement::pad),
    ("Pow", arithmetic::pow),
    ("QLinearConv", quantize::qlinear_conv),
    ("QLinearMatMul", quantize::qlinear_matmul),
    ("QuantizeLinear", quantize::quantize_linear),
    ("RMSNormalization", norm::rms_normalization),
    ("Range", logic::range),
    ("Reciprocal", arithmetic::reciprocal),
    ("ReduceL1", reduce::reduce_l1),
    ("ReduceL2", reduce::reduce_l2),
    ("ReduceLogSum", reduce::reduce_log_sum),
    ("ReduceLogSumExp", reduce::reduce_log_sum_exp),
    ("ReduceMax", reduce::reduce_max),
    ("ReduceMean", reduce::reduce_mean),
    ("ReduceMin", reduce::reduce_min),
    ("ReduceSum", reduce::reduce_sum),
    ("ReduceSumSquare", reduce::reduce_sum_square),
    ("Reshape", shape::reshape),
    ("Resize", resize::resize),
    ("Round", logic::round),
    ("Shape", shape::shape),
    ("Size", shape::size),
    ("Slice", select::slice),
    ("Softmax", softmax::softmax),
    ("SpaceToDepth", movement::space_to_depth),
    ("Split", select::split),
    ("Sqrt", arithmetic::sqrt),
    ("Squeeze", shape::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::sum),
    ("Swish", activation::swish),
    ("ThresholdedRelu", logic::thresholded_relu),
    ("Tile", movement::tile),
    ("Transpose", movement::transpose),
    ("Unsqueeze", shape::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", logic::choose),
];

/// Operators of onnxruntime's own that its quantiser writes, alphabetically.
const ONNXRUNTIME: &[(&str, Handler)] = &[
    ("DequantizeLinear", quantize::dequantize_linear),
    ("QLinearAdd", quantize::qlinear_add),
    ("QLinearAveragePool", quantize::qlinear_average_pool),
    ("QLinearConcat", quantize::qlinear_concat),
    ("QLinearGlobalAveragePool", quantize::qlinear_global_average_pool),
    ("QLinearLeakyRelu", quantize::qlinear_leaky_relu),
    ("QLinearMul", quantize::qlinear_mul),
    ("QLinearSigmoid", quantize::qlinear_sigmoid),
    ("QLinearSoftmax", quantize::qlinear_softmax),
    ("QuantizeLinear", quantize::quantize_linear),
];

/// What to do instead of an unsupported operator.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["Shrink", "Hardmax", "Sign"],
        "it jumps, which no polynomial is near to; train with Relu, LeakyRelu, Tanh or Swish",
    ),
    (&["GlobalLpPool", "LpPool"], "use AveragePool or MaxPool"),
    (&["TopK", "NonMaxSuppression"], "end the network before it, the client can do it on the answer"),
    (&["MaxUnpool", "GridSample", "RoiAlign"], "use Resize or ConvTranspose to grow images"),
    (&["ReduceProd", "CumSum"], "use ReduceSum or ReduceMean"),
    (&["GatherElements", "GatherND", "ScatterND", "ScatterElements"], "use Slice, Gather and Concat"),
    (&["LSTM", "GRU", "RNN", "Loop", "If", "Scan"], "unroll it, or export with constant control flow"),
    (&["Mod", "CastLike", "NonZero"], "if it only computes shapes, fold constants before (onnx-simplifier)"),
    (&["Attention"], "fhec compiles convolutional networks"),
];

/// The translation of a node's operator.
pub(super) fn find(proto: &NodeProto, id: &NodeId) -> Result<Handler, ImportError> {
    let row = || Activation::of_onnx(&proto.op_type).map(|_| activation::of_table as Handler);
    let among = |table: &[(&str, Handler)]| {
        let entry = table.iter().find(|(known, _)| *known == proto.op_type);
        entry.map(|(_, handler)| *handler)
    };
    let found = match proto.domain.as_str() {
        "com.microsoft" => among(ONNXRUNTIME),
        domain if is_standard(domain) => among(TABLE).or_else(row),
        _ => None,
    };
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
    let all: BTreeSet<&str> = TABLE.iter().chain(ONNXRUNTIME).map(|(name, _)| *name).chain(rows).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_hints_are_about_others() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0) && ONNXRUNTIME.is_sorted_by(|a, b| a.0 < b.0));
        let hinted = HINTS.iter().flat_map(|(names, _)| names.iter());
        for name in hinted {
            assert!(!supported_operators().contains(name), "{name}");
        }
    }
}
