"""Draw the sample digits of `digits/`: white ink on black, 28x28, framed as MNIST frames its images.

Usage: render_digits.py --out DIR

Each glyph is a few pen strokes, smooth curves through the points listed below; slant and pen width make the variants.
The ink's bounding box is scaled to 20x20 pixels (longer side) and its centre of mass put at the image's centre.
"""
import argparse
import math
import os

import numpy as np
from PIL import Image

SIDE, BOX = 28, 20
FINE = 8  # samples per pixel side, averaged


def loop(cx, cy, rx, ry, start=-90, turn=360, points=13):
    """Points on an ellipse from angle `start`, clockwise on screen (y grows downwards), `turn` degrees far."""
    angles = np.radians(start + np.linspace(0, turn, points))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


# Strokes in a frame of unit height, y downwards. A corner is where one stroke ends and the next begins.
GLYPHS = {
    "0": [loop(0.5, 0.5, 0.31, 0.5)],
    "0_open": [loop(0.5, 0.5, 0.36, 0.48, start=-60, turn=350)],
    "1": [[(0.5, 0), (0.5, 1)]],
    "1_flag": [[(0.36, 0.2), (0.52, 0)], [(0.52, 0), (0.52, 1)]],
    "2": [
        [(0.2, 0.24), (0.28, 0.08), (0.5, 0.0), (0.7, 0.08), (0.76, 0.26), (0.64, 0.5), (0.4, 0.76), (0.18, 0.97)],
        [(0.18, 0.97), (0.5, 0.95), (0.82, 0.98)],
    ],
    "2_looped": [
        [(0.18, 0.2), (0.36, 0.02), (0.6, 0.04), (0.7, 0.24), (0.58, 0.52), (0.36, 0.82), (0.2, 0.93), (0.16, 0.82)]
        + [(0.3, 0.76), (0.5, 0.9), (0.7, 0.97), (0.86, 0.88)],
    ],
    "3": [
        [(0.2, 0.12), (0.42, 0.0), (0.66, 0.06), (0.7, 0.24), (0.58, 0.4), (0.4, 0.46)],
        [(0.4, 0.46), (0.66, 0.52), (0.78, 0.7), (0.68, 0.9), (0.44, 1.0), (0.18, 0.9)],
    ],
    "4": [[(0.26, 0.0), (0.2, 0.28), (0.16, 0.56)], [(0.16, 0.56), (0.5, 0.54), (0.84, 0.5)], [(0.66, 0.05), (0.62, 0.5), (0.6, 1.0)]],
    "5": [
        [(0.78, 0.02), (0.54, 0.02), (0.3, 0.04)],
        [(0.3, 0.04), (0.27, 0.22), (0.24, 0.44)],
        [(0.24, 0.44), (0.46, 0.38), (0.68, 0.48), (0.74, 0.7), (0.6, 0.92), (0.38, 1.0), (0.16, 0.92)],
    ],
    "6": [
        [(0.62, 0.0), (0.42, 0.18), (0.28, 0.44), (0.24, 0.72), (0.34, 0.94), (0.52, 1.0), (0.7, 0.9), (0.74, 0.72)]
        + [(0.62, 0.56), (0.44, 0.58), (0.28, 0.74)],
    ],
    "7": [[(0.18, 0.06), (0.5, 0.04), (0.8, 0.02)], [(0.8, 0.02), (0.62, 0.34), (0.5, 0.66), (0.42, 1.0)]],
    "7_barred": [
        [(0.2, 0.08), (0.5, 0.05), (0.8, 0.02)],
        [(0.8, 0.02), (0.6, 0.36), (0.48, 0.68), (0.42, 1.0)],
        [(0.36, 0.54), (0.54, 0.52), (0.74, 0.49)],
    ],
    "8": [
        [(0.7, 0.14), (0.5, 0.0), (0.32, 0.1), (0.34, 0.3), (0.54, 0.48), (0.72, 0.7), (0.68, 0.92), (0.48, 1.0)]
        + [(0.28, 0.9), (0.28, 0.68), (0.48, 0.48), (0.68, 0.3), (0.7, 0.14)],
    ],
    "9": [
        [(0.72, 0.18), (0.54, 0.02), (0.34, 0.1), (0.26, 0.3), (0.38, 0.48), (0.58, 0.42), (0.72, 0.18)],
        [(0.72, 0.18), (0.68, 0.5), (0.62, 0.76), (0.56, 1.0)],
    ],
}

# file stem, glyph, slant (x per unit of y, to the right at the top), pen width in pixels
DIGITS = [
    ("digit_0_a", "0", 0.10, 2.3),
    ("digit_0_b", "0_open", 0.25, 3.0),
    ("digit_1_a", "1", 0.15, 2.4),
    ("digit_1_b", "1_flag", 0.05, 2.6),
    ("digit_2_a", "2", 0.10, 2.4),
    ("digit_2_b", "2_looped", 0.15, 2.2),
    ("digit_3_a", "3", 0.10, 2.5),
    ("digit_4_a", "4", 0.10, 2.3),
    ("digit_5_a", "5", 0.15, 2.5),
    ("digit_6_a", "6", 0.00, 2.4),
    ("digit_7_a", "7", 0.00, 2.4),
    ("digit_7_b", "7_barred", 0.05, 2.6),
    ("digit_8_a", "8", 0.15, 2.2),
    ("digit_9_a", "9", 0.05, 2.4),
]


def smooth(points, per_segment=24):
    """A Catmull-Rom curve through `points`, densely sampled."""
    p = np.array([2 * np.array(points[0]) - points[1], *points, 2 * np.array(points[-1]) - points[-2]], float)
    t = np.linspace(0, 1, per_segment, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:]):
        pieces.append(b + t / 2 * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * (b - c) + d - a))))
    return np.concatenate([*pieces, p[-2:-1]])


def draw(strokes, slant, width):
    """The glyph as 28x28 bytes."""
    curves = [smooth(s) for s in strokes]
    ink = np.concatenate(curves)
    ink[:, 0] += slant * (0.5 - ink[:, 1])
    low, high = ink.min(0), ink.max(0)
    ink = (ink - (low + high) / 2) * ((BOX - width) / (high - low).max())

    def rendered(offset):
        centres = (np.arange(SIDE * FINE) + 0.5) / FINE - SIDE / 2
        x, y = centres[None, :] - offset[0], centres[:, None] - offset[1]
        nearest = np.full((SIDE * FINE, SIDE * FINE), np.inf)
        for px, py in ink:
            np.minimum(nearest, (x - px) ** 2 + (y - py) ** 2, out=nearest)
        # Ink fades over the outer half pixel, as a scanned pen's does.
        cover = np.clip((width / 2 + 0.25 - np.sqrt(nearest)) / 0.5, 0, 1)
        return cover.reshape(SIDE, FINE, SIDE, FINE).mean((1, 3))

    image = rendered((0, 0))
    at = np.arange(SIDE) + 0.5 - SIDE / 2
    mass = image.sum()
    image = rendered((-(image.sum(0) @ at) / mass, -(image.sum(1) @ at) / mass))
    return np.round(255 * image).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    folder = parser.parse_args().out
    os.makedirs(folder, exist_ok=True)
    for name, glyph, slant, width in DIGITS:
        Image.fromarray(draw(GLYPHS[glyph], slant, width), "L").save(os.path.join(folder, name + ".png"), optimize=True)


if __name__ == "__main__":
    main()
