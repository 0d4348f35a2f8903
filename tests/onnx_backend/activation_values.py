"""Prints values of activations by onnxruntime, as the table in `compiler/tests/onnx_activations.rs` has them.

    pip install onnx==1.23.2 onnxruntime==1.32.0
    python tests/onnx_backend/activation_values.py

One line per operator, version of the operator set and attributes: the values at POINTS, in single precision. Operators are
asked for in the first version that has them and in the newest that onnxruntime knows.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

POINTS = [-6.0, -3.0, -2.5, -1.5, -1.0, -0.25, 0.0, 0.25, 1.0, 2.5, 3.0, 6.0]

CASES = [
    ("Celu", 12, {}),
    ("Celu", 12, {"alpha": 2.0}),
    ("Elu", 6, {}),
    ("Elu", 22, {}),
    ("Elu", 22, {"alpha": 2.0}),
    ("Erf", 9, {}),
    ("Exp", 13, {}),
    ("Gelu", 20, {}),
    ("Gelu", 20, {"approximate": "tanh"}),
    ("HardSigmoid", 6, {}),
    ("HardSigmoid", 22, {}),
    ("HardSigmoid", 22, {"alpha": 0.5, "beta": 0.25}),
    ("HardSigmoid", 22, {"alpha": -0.5, "beta": 0.25}),
    ("HardSwish", 14, {}),
    ("HardSwish", 22, {}),
    ("LeakyRelu", 6, {}),
    ("LeakyRelu", 16, {"alpha": 0.25}),
    ("Mish", 18, {}),
    ("Mish", 22, {}),
    ("Relu", 14, {}),
    ("Selu", 6, {}),
    ("Selu", 22, {}),
    ("Selu", 22, {"alpha": 2.0, "gamma": 0.5}),
    ("Sigmoid", 13, {}),
    ("Softplus", 6, {}),
    ("Softplus", 22, {}),
    ("Softsign", 6, {}),
    ("Softsign", 22, {}),
    ("Swish", 24, {}),
    ("Swish", 24, {"alpha": 2.0}),
    ("Swish", 24, {"alpha": -0.5}),
    ("Tanh", 13, {}),
]


def values(operator, opset, attributes):
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, len(POINTS)]) for name in "xy"]
    graph = helper.make_graph([node], "activation", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = min(model.ir_version, 10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array([POINTS], dtype=np.float32)})[0][0]


if __name__ == "__main__":
    print("POINTS", POINTS)
    for operator, opset, attributes in CASES:
        given = ", ".join(f'("{name}", {value!r})' for name, value in attributes.items()).replace("'", '"')
        try:
            found = ", ".join(np.format_float_positional(v, unique=True, trim="0") for v in values(operator, opset, attributes))
        except Exception as error:
            found = f"refused: {str(error)[:100]}"
        print(f'("{operator}", {opset}, &[{given}], [{found}]),')
