"""Values of operators for compiler/tests/onnx_operators.rs, by onnxruntime.

    pip install onnx==1.23.2 onnxruntime==1.32.0
    python tests/onnx_backend/operator_values.py > compiler/tests/onnx_operators/values.rs
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOATS = np.float32


def f(shape, values):
    return np.array(values, dtype=FLOATS).reshape(shape)


def i(shape, values):
    return np.array(values, dtype=np.int64).reshape(shape)


def wave(shape, seed=0):
    count = int(np.prod(shape))
    return f(shape, [((k * 7 + seed * 5 + 3) % 13) / 8 - 0.75 for k in range(count)])


def operand(shape, positive):
    """As `operand` of the test has it."""
    count = int(np.prod(shape))
    return f(shape, [((k * 7 + 3) % 11) / 4 + (0.5 if positive else -1.25) for k in range(count)])


# Operator, opset, shape of the first input, attributes, other inputs (None is left out), outputs, whether the first
# input is positive.
CASES = []


def case(op, opset, shape, attrs=None, *others, outputs=1, positive=False, domain=""):
    CASES.append((op, opset, shape, attrs or {}, others, outputs, positive, domain))


IMAGE = [1, 2, 3, 4]
case("Abs", 13, [1, 4])
case("ArgMax", 13, IMAGE, {"axis": 1})
case("ArgMax", 13, [1, 6], {"axis": -1, "keepdims": 0})
case("ArgMin", 13, IMAGE, {"axis": 3})
case("ConvTranspose", 11, IMAGE, {"strides": [2, 2]}, wave([2, 1, 2, 2]))
case("ConvTranspose", 11, IMAGE, {"strides": [2, 1], "pads": [1, 0, 0, 1], "output_padding": [1, 0], "group": 2},
     wave([2, 1, 3, 2]), wave([2], 1))
case("ConvTranspose", 11, [1, 1, 2, 3], {"dilations": [2, 1], "strides": [1, 2], "output_shape": [4, 6]},
     wave([1, 2, 2, 3]))
case("ConvTranspose", 11, [1, 1, 2, 2], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, wave([1, 1, 3, 3]))
case("ConvTranspose", 11, [1, 1, 2, 2], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, wave([1, 1, 3, 3]))
case("ConvTranspose", 11, [1, 2, 3], {"strides": [2], "pads": [1, 0]}, wave([2, 1, 3]))
case("DepthToSpace", 13, [1, 4, 1, 2], {"blocksize": 2})
case("DepthToSpace", 13, [1, 8, 1, 1], {"blocksize": 2, "mode": "CRD"})
case("SpaceToDepth", 13, [1, 1, 2, 4], {"blocksize": 2})
case("Div", 14, [1, 2, 2], {}, "x", positive=True)
case("Einsum", 12, [2, 3], {"equation": "ij,jk->ki"}, wave([3, 2]))
case("Einsum", 12, [2, 2, 3], {"equation": "bij,bjk->bik"}, wave([2, 3, 2]))
case("Einsum", 12, [2, 2, 3], {"equation": "bij,j->bi"}, wave([3]))
case("Einsum", 12, [2, 3], {"equation": "ij->j"})
case("Expand", 13, [2, 1], {}, i([3], [1, 2, 3]))
case("Expand", 13, [1, 2, 1, 2], {}, i([2], [3, 1]))
case("Tile", 13, [1, 2, 2], {}, i([3], [1, 2, 3]))
case("Gather", 13, [1, 4], {"axis": 1}, i([3], [3, 0, -3]))
case("Pad", 13, [1, 1, 3, 3], {"mode": "reflect"}, i([8], [0, 0, 1, 2, 0, 0, 0, 1]))
case("Pad", 13, [1, 1, 2, 3], {"mode": "edge"}, i([8], [0, 0, 1, 0, 0, 0, 1, 2]))
case("GroupNormalization", 18, [1, 4, 2, 1], {"num_groups": 2, "epsilon": 0.01}, wave([2]), wave([2], 1))
case("GroupNormalization", 21, [1, 4, 2, 1], {"num_groups": 2}, wave([4]), wave([4], 1))
case("InstanceNormalization", 7, [1, 2, 2, 2], {"epsilon": 0.001}, wave([2]), wave([2], 1))
case("LayerNormalization", 17, [1, 2, 3], {}, wave([3]), wave([3], 1))
case("LayerNormalization", 17, [1, 2, 3], {"axis": 1, "epsilon": 0.1}, wave([2, 3]))
case("LRN", 13, [1, 4, 1, 2], {"size": 3, "alpha": 0.5, "bias": 2.0})
case("LRN", 13, [1, 4, 1, 1], {"size": 5, "alpha": 0.5, "beta": 0.5})
case("LpNormalization", 7, [1, 4], {"p": 1})
case("LpNormalization", 7, [1, 2, 2], {"axis": 1})
case("MeanVarianceNormalization", 13, [1, 2, 2, 2])
case("RMSNormalization", 23, [1, 2, 3], {}, wave([3]))
case("Log", 13, [1, 4], positive=True)
case("LogSoftmax", 13, [1, 2, 3], {"axis": 1})
case("LogSoftmax", 11, [1, 2, 3])
case("MatMul", 13, [1, 2, 3], {}, wave([3, 2]))
case("MatMul", 13, [2, 2, 3], {}, wave([2, 3, 2]))
case("MatMul", 13, [3], {}, wave([3, 2]))
case("MatMul", 13, [2, 3], {}, wave([1, 3, 2]))
case("Max", 13, [1, 4], {}, f([], 0.5))
case("Max", 13, [1, 4], {}, wave([4]), wave([4], 1))
case("Mean", 13, [1, 4], {}, wave([4]), wave([1], 1))
case("Min", 13, [1, 4], {}, f([1], 0.25))
case("Min", 13, [1, 4], {}, wave([4]))
case("Pow", 13, [1, 4], {}, f([], 3))
case("Pow", 13, [1, 4], {}, i([], 7))
case("Pow", 13, [1, 4], {}, f([], -2), positive=True)
case("Pow", 13, [1, 4], {}, f([], 1.5), positive=True)
case("Reciprocal", 13, [1, 4], positive=True)
case("Sqrt", 13, [1, 4], positive=True)
for op in ["ReduceSum", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceLogSumExp"]:
    since = 13 if op == "ReduceSum" else 18
    case(op, since, IMAGE, {}, i([2], [2, 3]))
    case(op, since, IMAGE, {"keepdims": 0}, i([1], [1]))
    case(op, 11, IMAGE, {"axes": [-1], "keepdims": 0})
case("ReduceLogSum", 18, IMAGE, {}, i([1], [1]), positive=True)
case("ReduceSum", 13, [1, 3], {"noop_with_empty_axes": 1})
case("Split", 11, [1, 4, 1], {"axis": 1}, outputs=2)
case("Split", 13, [1, 4, 1], {"axis": 1}, i([2], [1, 3]), outputs=2)
case("Split", 18, [1, 5], {"axis": 1, "num_outputs": 2}, outputs=2)
case("Upsample", 7, [1, 1, 2, 2], {"scales": [1.0, 1.0, 2.0, 1.5]})
case("Upsample", 9, [1, 1, 2, 2], {"mode": "linear"}, f([4], [1, 1, 2, 2]))
case("Resize", 10, [1, 1, 2, 4], {}, f([4], [1, 1, 1.5, 0.5]))
for mode in ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"]:
    opset = 19 if mode == "half_pixel_symmetric" else 13
    attrs = {"coordinate_transformation_mode": mode}
    case("Resize", opset, [1, 1, 2, 4], {**attrs, "mode": "linear"}, None, f([4], [1, 1, 2, 0.6]))
    case("Resize", opset, [1, 1, 2, 4], {**attrs, "mode": "cubic"}, None, None, i([4], [1, 1, 3, 7]))
    case("Resize", opset, [1, 1, 2, 4], {**attrs, "mode": "nearest"}, None, f([4], [1, 1, 2, 1.5]))
case("Resize", 11, [1, 1, 1, 4], {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
     f([0], []), f([4], [1, 1, 1, 1.75]))
for mode in ["round_prefer_ceil", "ceil"]:
    case("Resize", 13, [1, 1, 1, 4], {"nearest_mode": mode}, None, f([4], [1, 1, 1, 0.5]))
case("Resize", 13, [1, 1, 1, 4],
     {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"},
     f([8], [0, 0, 0, 0.2, 1, 1, 1, 0.9]), None, i([4], [1, 1, 1, 3]))
case("Resize", 13, [1, 1, 1, 5], {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
     None, f([4], [1, 1, 1, 1.6]))
case("Resize", 18, [1, 1, 2, 4], {"axes": [3, 2], "mode": "linear"}, None, f([2], [2, 1.5]))
case("Resize", 18, [1, 1, 2, 4], {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger", "mode": "linear"},
     None, None, i([2], [5, 6]))
case("QuantizeLinear", 13, [1, 4], {}, f([], 0.25), np.uint8(3), positive=True)


def literal(values):
    return "[" + ", ".join(values) + "]"


def number(x):
    return str(np.float32(x)) if np.isfinite(x) else ("f32::INFINITY" if x > 0 else "f32::NEG_INFINITY")


def attribute(value):
    if isinstance(value, str):
        return f'Text("{value}")'
    if isinstance(value, float):
        return f"Float({value!r})"
    if isinstance(value, int):
        return f"Int({value})"
    if isinstance(value[0], float):
        return f"Floats(&{literal(map(repr, value))})"
    return f"Ints(&{literal(map(str, value))})"


def other(value):
    if value is None:
        return "Other::None"
    if isinstance(value, str):
        return "Other::Same"
    shape = literal(map(str, value.shape))
    if value.dtype == FLOATS:
        return f"Other::Floats(&{shape}, &{literal(map(number, value.ravel()))})"
    kind = {"int64": "Int64", "uint8": "Uint8", "int8": "Int8"}[str(value.dtype)]
    return f"Other::Ints(DataType::{kind.upper()}, &{shape}, &{literal(map(str, value.ravel()))})"


def main():
    print("//! Written by `tests/onnx_backend/operator_values.py` with onnxruntime " + onnxruntime.__version__ + ".\n")
    print("use super::Attribute::*;\nuse super::{Case, Other};\nuse onnx_protobuf::tensor_proto::DataType;\n")
    print("#[rustfmt::skip]\n#[allow(clippy::approx_constant)] // as onnxruntime prints them\npub(crate) const CASES: &[Case] = &[")
    for op, opset, shape, attrs, others, outputs, positive, domain in CASES:
        x = operand(shape, positive)
        others = list(others)
        names, stored = ["x"], []
        for index, value in enumerate(others):
            names.append("" if value is None else value if isinstance(value, str) else f"c{index}")
            if value is not None and not isinstance(value, str):
                stored.append(numpy_helper.from_array(np.asarray(value), f"c{index}"))
        made = [f"y{k}" for k in range(outputs)]
        node = helper.make_node(op, names, made, domain=domain, **attrs)
        graph = helper.make_graph(
            [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info(name) for name in made], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            results = session.run(None, {"x": x})
        except Exception:
            # What onnxruntime has no kernel for, the reference evaluator of onnx computes.
            from onnx.reference import ReferenceEvaluator

            results = ReferenceEvaluator(model).run(None, {"x": x})
        attributes = ", ".join(f'("{name}", {attribute(value)})' for name, value in attrs.items())
        rows = ", ".join(
            f"(&{literal(map(str, y.shape))}, &{literal(number(v) for v in y.ravel().astype(FLOATS))})" for y in results)
        print(f'    Case {{ op: "{op}", opset: {opset}, shape: &{literal(map(str, shape))}, positive: {str(positive).lower()}, '
              f"attributes: &[{attributes}],\n        others: &[{', '.join(map(other, others))}],\n"
              f"        results: &[{rows}] }},")
    print("];")


main()
