"""Measure a network of this folder with onnxruntime: accuracy, largest logit, and the range of what enters each activation
and of what comes out.

Usage: measure.py --model NAME.onnx [--accuracy DATA] [--calibrate DATA [--out NAME.calibration.json]]
The normalisation is NAME.toml's beside the model (--preprocess names another file). DATA is an MNIST IDX image file
(gzip'd or not, labels beside it) or a file of CIFAR-10 binary records. Calibrate on training images, measure
accuracy on test images.

The calibration file lists, in graph order, for each Relu its node, the tensor that enters it, and that tensor's least
and greatest value over the images. A network without Relu lists its batch normalisations' outputs instead, which
enter its polynomials.
"""
import argparse
import gzip
import json
import os
import tomllib

import numpy as np
import onnx
import onnxruntime


def opened(path):
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def read_images(path):
    """Images as bytes [n, c, h, w], and labels [n]."""
    with opened(path) as file:
        data = np.frombuffer(file.read(), np.uint8)
    if data[:4].tolist() != [0, 0, 8, 3]:
        records = data.reshape(-1, 3073)
        return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    shape = data[4:16].view(">u4").astype(int)
    with opened(path.replace("images-idx3", "labels-idx1")) as file:
        labels = np.frombuffer(file.read(), np.uint8)[8:]
    return data[16:].reshape(shape[0], 1, shape[1], shape[2]), labels


def batches(images, preprocess, size=500):
    mean, std = (np.array(preprocess[k], np.float32)[:, None, None] for k in ("mean", "std"))
    for start in range(0, len(images), size):
        yield (images[start : start + size].astype(np.float32) / np.float32(preprocess["scale"]) - mean) / std


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As written: fusing a batch normalisation away would change the last bits of what is measured.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def calibrated(graph):
    """(node name, tensor name) of every activation's input and of every output, by the node that makes it."""
    relus = [(n.name, n.input[0]) for n in graph.node if n.op_type == "Relu"]
    inputs = relus or [(n.name, n.output[0]) for n in graph.node if n.op_type == "BatchNormalization"]
    makers = {tensor: n.name for n in graph.node for tensor in n.output}
    return inputs + [(makers[o.name], o.name) for o in graph.output]


def calibrate(model, images, preprocess):
    places = calibrated(model.graph)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    outputs = {o.name for o in model.graph.output}
    for tensor in {t for _, t in places} - outputs:
        probe.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    run = session(probe)
    low, high = np.full(len(places), np.inf), np.full(len(places), -np.inf)
    for x in batches(images, preprocess):
        values = run.run([t for _, t in places], {run.get_inputs()[0].name: x})
        low = np.minimum(low, [v.min() for v in values])
        high = np.maximum(high, [v.max() for v in values])
    return [
        {"node": node, "tensor": tensor, "min": float(a), "max": float(b), "max_abs": float(max(-a, b)), "images": len(images)}
        for (node, tensor), a, b in zip(places, low, high)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--preprocess")
    parser.add_argument("--accuracy")
    parser.add_argument("--calibrate")
    parser.add_argument("--out")
    options = parser.parse_args()
    with open(options.preprocess or os.path.splitext(options.model)[0] + ".toml", "rb") as file:
        preprocess = tomllib.load(file)
    model = onnx.load(options.model)
    if options.accuracy:
        images, labels = read_images(options.accuracy)
        run = session(model)
        logits = np.concatenate([run.run(None, {run.get_inputs()[0].name: x})[0] for x in batches(images, preprocess)])
        right = int((logits.argmax(1) == labels).sum())
        print(f"{right} of {len(images)} right, {100 * right / len(images):.2f} %; largest |logit| {abs(logits).max():.2f}")
    if options.calibrate:
        images, _ = read_images(options.calibrate)
        ranges = calibrate(model, images, preprocess)
        text = "[\n" + ",\n".join("  " + json.dumps(r) for r in ranges) + "\n]\n"
        if options.out:
            with open(options.out, "w") as file:
                file.write(text)
        print(text, end="")


if __name__ == "__main__":
    main()
