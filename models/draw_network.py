"""Draw a network of torchvision's architecture for pictures of any size: a ResNet (He et al. 2015; stride in the 3x3
convolution) or MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2). Or a ResNet for CIFAR-10 (He et al. 2015,
section 4.2, option A: shortcuts take every other pixel and are padded with channels of zeros).

Usage: draw_network.py --network resnet18 --size 224 --pictures DIR --out resnet18_224.onnx
       draw_network.py --network resnet110_cifar --pictures test_batch.bin --classes 10 --out resnet110.onnx

Weights are drawn (He et al. 2015, arXiv 1502.01852), statistics of batch normalisation are those of the pictures, and the
last layer is centred on them, so that pictures get different classes. Nothing is learned: time, memory and errors of an
encrypted run do not need more, and nothing may be said of accuracy. Needs numpy, onnx, onnxruntime and pillow.
"""
import argparse, glob
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper
from PIL import Image

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CIFAR_DEPTHS = (20, 32, 44, 56, 110)
# What a block adds beside what it is added to. At 1 a drawn network is chaotic: a small change of the picture grows from
# block to block, which it does not in trained ones.
BRANCH = 0.3
# MobileNetV2: how much wider a block is inside, its channels, how many there are, and the stride of the first.
INVERTED = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def picture(path, size):
    image = np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.BILINEAR), np.float32) / 255
    return ((image - MEAN) / STD).transpose(2, 0, 1)


class Network:
    """A graph that is evaluated while it is drawn, so that statistics are known where they are needed."""

    def __init__(self, inputs, seed):
        self.nodes, self.weights, self.count = [], [], 0
        self.values = {"image": inputs}
        self.random = np.random.default_rng(seed)

    def weight(self, array):
        name = f"w{len(self.weights)}"
        array = np.asarray(array, order="C")
        kind = np.int64 if array.dtype.kind == "i" else np.float32
        self.weights.append(numpy_helper.from_array(array.astype(kind), name))
        return name

    def op(self, kind, inputs, weights=(), **attributes):
        names = [self.weight(w) for w in weights]
        result = f"t{self.count}"
        self.count += 1
        node = h.make_node(kind, list(inputs) + names, [result], name=f"{kind}_{self.count}", **attributes)
        self.nodes.append(node)
        info = lambda name: h.make_tensor_value_info(name, T.FLOAT, None)
        constants = self.weights[len(self.weights) - len(names):] if names else []
        graph = h.make_graph([node], "one", [info(n) for n in inputs], [info(result)], constants)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
        session = ort.InferenceSession(model.SerializeToString())
        self.values[result], = session.run(None, {n: self.values[n] for n in inputs})
        return result

    def conv(self, x, channels, kernel, stride=1, size=1.0, groups=1):
        inputs = self.values[x].shape[1] // groups
        weight = self.random.normal(0, (2 / (inputs * kernel**2)) ** 0.5, (channels, inputs, kernel, kernel))
        x = self.op("Conv", [x], [weight], strides=[stride] * 2, pads=[kernel // 2] * 4,
                    kernel_shape=[kernel] * 2, group=groups)
        mean, variance = self.values[x].mean((0, 2, 3)), self.values[x].var((0, 2, 3))
        scale, shift = size * self.random.uniform(0.7, 1.3, channels), self.random.normal(0, 0.2 * size, channels)
        return self.op("BatchNormalization", [x], [scale, shift, mean, variance], epsilon=1e-5)

    def forget_all_but(self, x):
        """Values of many pictures take gigabytes; those before a block are not needed after it."""
        self.values = {x: self.values[x]}

    def relu(self, x):
        return self.op("Relu", [x])

    def relu6(self, x):
        return self.op("Clip", [x], [0.0, 6.0])

    def classify(self, x, classes):
        """The mean of each channel, and a last layer that is centred on the pictures."""
        x = self.op("Flatten", [self.op("GlobalAveragePool", [x])])
        features = self.values[x]
        spread = features.std(0).mean() * features.shape[1] ** 0.5
        weight = self.random.normal(0, 1, (classes, features.shape[1])) / spread
        self.op("Gemm", [x], [weight, -(weight @ features.mean(0))], transB=1)


def draw_resnet(net, depth):
    x = net.relu(net.conv("image", 64, 7, 2))
    x = net.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, blocks in enumerate(BLOCKS[depth]):
        channels = 64 << stage
        outputs = channels * (4 if depth >= 50 else 1)
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            if depth >= 50:
                y = net.relu(net.conv(x, channels, 1))
                y = net.relu(net.conv(y, channels, 3, stride))
                y = net.conv(y, outputs, 1, size=BRANCH)
            else:
                y = net.relu(net.conv(x, channels, 3, stride))
                y = net.conv(y, channels, 3, size=BRANCH)
            if stride != 1 or net.values[x].shape[1] != outputs:
                x = net.conv(x, outputs, 1, stride)
            x = net.relu(net.op("Add", [y, x]))
            net.forget_all_but(x)
    return x


def draw_cifar_resnet(net, depth):
    x = net.relu(net.conv("image", 16, 3))
    for stage in range(3):
        for block in range((depth - 2) // 6):
            channels, stride = 16 << stage, 2 if stage and not block else 1
            y = net.relu(net.conv(x, channels, 3, stride))
            y = net.conv(y, channels, 3, size=BRANCH)
            if stride != 1:
                x = net.op("Slice", [x], [[0, 0], [32, 32], [2, 3], [2, 2]])
                x = net.op("Pad", [x], [[0, channels // 4, 0, 0, 0, channels // 4, 0, 0]])
            x = net.relu(net.op("Add", [y, x]))
            net.forget_all_but(x)
    return x


def draw_mobilenet_v2(net):
    x = net.relu6(net.conv("image", 32, 3, 2))
    for expansion, channels, blocks, first_stride in INVERTED:
        for block in range(blocks):
            inputs = net.values[x].shape[1]
            stride = 1 if block else first_stride
            y = net.relu6(net.conv(x, expansion * inputs, 1)) if expansion > 1 else x
            y = net.relu6(net.conv(y, expansion * inputs, 3, stride, groups=expansion * inputs))
            kept = stride == 1 and inputs == channels
            y = net.conv(y, channels, 1, size=BRANCH if kept else 1.0)
            x = net.op("Add", [y, x]) if kept else y
            net.forget_all_but(x)
    return net.relu6(net.conv(x, 1280, 1))


def main():
    a = argparse.ArgumentParser()
    networks = [f"resnet{depth}" for depth in BLOCKS] + ["mobilenet_v2"] + [f"resnet{n}_cifar" for n in CIFAR_DEPTHS]
    a.add_argument("--network", default="resnet18", choices=networks)
    a.add_argument("--size", type=int, help="of a picture's side; 224, or 32 of CIFAR-10")
    a.add_argument("--classes", type=int, default=1000); a.add_argument("--seed", type=int, default=0)
    a.add_argument("--pictures", required=True, help="folder of pictures, or a batch of CIFAR-10"); a.add_argument("--out", required=True)
    o = a.parse_args()
    size = o.size = o.size or (32 if o.network.endswith("_cifar") else 224)
    if o.pictures.endswith(".bin"):
        rows = np.fromfile(o.pictures, np.uint8).reshape(-1, 3073)[:500, 1:].reshape(-1, 3, 32, 32) / np.float32(255)
        images = (rows - MEAN[:, None, None]) / STD[:, None, None]
    else:
        found = glob.glob(o.pictures + "/**/*", recursive=True)
        images = np.stack([picture(p, size) for p in sorted(found) if p.lower().endswith((".png", ".jpg"))])
    net = Network(images, o.seed)
    if o.network == "mobilenet_v2":
        last = draw_mobilenet_v2(net)
    elif o.network.endswith("_cifar"):
        last = draw_cifar_resnet(net, int(o.network[len("resnet"):-len("_cifar")]))
    else:
        last = draw_resnet(net, int(o.network[len("resnet"):]))
    net.classify(last, o.classes)
    net.nodes[-1].output[0] = "logits"
    info = lambda name, shape: h.make_tensor_value_info(name, T.FLOAT, shape)
    inputs, outputs = info("image", ["batch", 3, o.size, o.size]), info("logits", ["batch", o.classes])
    graph = h.make_graph(net.nodes, o.network, [inputs], [outputs], net.weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, o.out)
    logits = net.values[f"t{net.count - 1}"]
    print(f"{len(images)} pictures, {len(set(logits.argmax(1)))} classes, largest logit {abs(logits).max():.2f}")


if __name__ == "__main__":
    main()
