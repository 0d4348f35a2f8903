"""Train the MNIST CNN of this folder and export it to ONNX, batch normalisation kept.

Usage: train_mnist_cnn.py --data DIR --activation relu|poly4|poly3 --out FILE.onnx [--channels C1,C2] [--stride 1|2]
DIR holds the MNIST IDX files of the training set, gzip'd or not. The test set is never read here.

    conv 5x5 -> BN -> activation -> average pool 2x2 -> conv 5x5 -> BN -> activation -> average pool 2x2 -> linear 10

Shaped for homomorphic evaluation: planes go 28 -> 14 -> 7, pooling is linear (it joins the next layer's linear map),
there are two activations and no others, and training keeps what enters them within a narrow range, because an
activation becomes a polynomial whose error grows with the range it must cover.
"""
import argparse
import copy
import gzip
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = 0.1307, 0.3081  # of the training pixels in 0..1
HELD_OUT = 5000  # the last training images choose the epoch that is kept


def read_idx(folder, name):
    """The IDX file `name` in `folder`, gzip'd or not, as an array of bytes of the shape its header states."""
    path = os.path.join(folder, name)
    opened = open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb")
    with opened as file:
        data = file.read()
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape).copy()


def swish_fit(degree, bound=4.0):
    """Coefficients, constant first, of the least-squares polynomial for Swish on [-bound, bound]."""
    x = np.linspace(-bound, bound, 4001)
    return np.polynomial.polynomial.polyfit(x, x / (1 + np.exp(-x)), degree)


class Polynomial(nn.Module):
    """A polynomial by Horner's rule, started at the fit of Swish; its coefficients are trained with the weights.

    Swish is x/2 plus an even function, so the fit starts the cubic coefficient at zero and training moves it.
    """

    def __init__(self, degree):
        super().__init__()
        self.coefficients = nn.ParameterList([nn.Parameter(torch.tensor(float(c))) for c in swish_fit(degree)])

    def forward(self, x):
        *low, top = self.coefficients
        y = top * x
        for c in reversed(low[1:]):
            y = (y + c) * x
        return y + low[0]


class Cnn(nn.Module):
    """See the head of this file. `ranges` holds the activation inputs of the last forward pass."""

    def __init__(self, channels, stride, activation):
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(1, first, 5, stride, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(first, second, 5, 1, 2, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.act2 = activation()
        side = 28 // stride // 2
        self.pool2 = nn.AvgPool2d(2) if side % 2 == 0 else nn.Identity()
        side //= 2 if side % 2 == 0 else 1
        self.fc = nn.Linear(second * side * side, 10)
        self.ranges = []

    def forward(self, x):
        a = self.bn1(self.conv1(x))
        b = self.bn2(self.conv2(F.avg_pool2d(self.act1(a), 2)))
        self.ranges = [a, b]
        return self.fc(self.pool2(self.act2(b)).flatten(1))


def normalise(pixels):
    """Bytes -> network input: (p / 255 - mean) / std."""
    return (pixels.float() / 255 - MEAN) / STD


def augment(pixels, generator):
    """Each image turned up to 12 degrees, scaled by up to 10 %, sheared by up to 0.1, shifted by up to 2 pixels."""
    n = len(pixels)
    u = torch.rand(n, 5, generator=generator) * 2 - 1
    angle, scale, shear, shift = u[:, 0] * math.radians(12), 1 + 0.1 * u[:, 1], 0.1 * u[:, 2], u[:, 3:] * (2 / 14)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos, shear - sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(n, 2, 3)
    return F.grid_sample(pixels.float(), F.affine_grid(rows, pixels.shape, align_corners=False), align_corners=False)


@torch.no_grad()
def accuracy(net, pixels, labels):
    net.eval()
    right = [(net(normalise(p)).argmax(1) == y).sum().item() for p, y in zip(pixels.split(500), labels.split(500))]
    return sum(right) / len(labels)


@torch.no_grad()
def follow(average, net, rate):
    """Move every weight and statistic of `average` towards `net` by `rate`."""
    for a, b in zip(average.state_dict().values(), net.state_dict().values()):
        a.lerp_(b, rate) if a.is_floating_point() else a.copy_(b)


def train(net, pixels, labels, options):
    """The moving average of the weights that does best on the held-out images."""
    generator = torch.Generator().manual_seed(options.seed)
    kept_x, kept_y = pixels[-HELD_OUT:], labels[-HELD_OUT:]
    pixels, labels = pixels[:-HELD_OUT], labels[:-HELD_OUT]
    decayed = [p for p in net.parameters() if p.ndim > 1]
    free = [p for p in net.parameters() if p.ndim == 1]
    coefficients = [p for p in net.parameters() if p.ndim == 0]
    groups = [(decayed, 5e-4, 1.0), (free, 0.0, 1.0), (coefficients, 0.0, 0.05)]
    optimizer = torch.optim.SGD(
        [{"params": p, "weight_decay": w, "share": s} for p, w, s in groups if p], lr=0.1, momentum=0.9, nesterov=True
    )
    average, best, best_accuracy = copy.deepcopy(net), None, 0.0
    steps, step, start = len(pixels) // options.batch, 0, time.time()
    for epoch in range(options.epochs):
        net.train()
        order, total = torch.randperm(len(pixels), generator=generator), 0.0
        for batch in order[: steps * options.batch].split(options.batch):
            done = step / (steps * options.epochs)
            rate = 0.15 * min(done / 0.1, (1 + math.cos(math.pi * max(done - 0.1, 0) / 0.9)) / 2)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            out = net(normalise(augment(pixels[batch], generator)))
            loss = F.cross_entropy(out, labels[batch], label_smoothing=0.05)
            spill = sum((F.relu(r.abs() - options.bound) ** 2).sum() for r in net.ranges) / len(batch)
            optimizer.zero_grad()
            (loss + options.spill * spill).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimizer.step()
            follow(average, net, max(0.005, 1 / (step + 2)))
            total += loss.item()
            step += 1
        now = accuracy(average, kept_x, kept_y)
        if now >= best_accuracy:
            best, best_accuracy = copy.deepcopy(average), now
        widest = [f"{r.abs().max():.2f}" for r in average.ranges]
        print(
            f"epoch {epoch + 1} loss {total / steps:.4f} held out {100 * now:.2f} % ranges {' '.join(widest)} "
            f"{time.time() - start:.0f} s",
            flush=True,
        )
    print(f"kept: held out {100 * best_accuracy:.2f} %")
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--activation", choices=["relu", "poly4", "poly3"], default="relu")
    parser.add_argument("--channels", default="8,16")
    parser.add_argument("--stride", type=int, choices=[1, 2], default=1)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--bound", type=float, default=4.0, help="activation inputs beyond this are pulled back")
    parser.add_argument("--spill", type=float, default=1e-3, help="how strongly")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    pixels = torch.from_numpy(read_idx(options.data, "train-images-idx3-ubyte")).unsqueeze(1)
    labels = torch.from_numpy(read_idx(options.data, "train-labels-idx1-ubyte")).long()
    make = {"relu": nn.ReLU, "poly4": lambda: Polynomial(4), "poly3": lambda: Polynomial(3)}[options.activation]
    net = Cnn([int(c) for c in options.channels.split(",")], options.stride, make)
    net = train(net, pixels, labels, options).eval()
    torch.onnx.export(
        net,
        (torch.zeros(1, 1, 28, 28),),
        options.out,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
