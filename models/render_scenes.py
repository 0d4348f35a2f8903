"""Draw the sample pictures of `scenes/` for the CIFAR-10 networks: 32x32, colour, one class each.

Usage: render_scenes.py --out DIR

Each scene is a sky that fades downwards and a list of flat shapes in a unit square, drawn eight times too large and averaged down.
"""
import argparse
import os

import numpy as np
from PIL import Image, ImageDraw

SIDE, FINE = 32, 8
SIZE = SIDE * FINE


def polygon(colour, *points):
    return "polygon", colour, points


def box(colour, left, top, right, bottom):
    return "rectangle", colour, ((left, top), (right, bottom))


def oval(colour, left, top, right, bottom):
    return "ellipse", colour, ((left, top), (right, bottom))


def row(count, step, colour, left, top, right, bottom):
    """`count` boxes, each `step` to the right of the last."""
    return [box(colour, left + i * step, top, right + i * step, bottom) for i in range(count)]


def wheel(x, y, radius, tyre, hub):
    r = radius / 2
    return [oval(tyre, x - radius, y - radius, x + radius, y + radius), oval(hub, x - r, y - r, x + r, y + r)]


# name, colours of the sky at top and bottom, shapes from back to front
SCENES = [
    ("airplane", (110, 160, 220), (190, 215, 240), [
        polygon((150, 155, 165), (0.42, 0.5), (0.62, 0.5), (0.46, 0.22), (0.38, 0.22)),
        polygon((235, 238, 242), (0.08, 0.47), (0.14, 0.45), (0.8, 0.45), (0.92, 0.51), (0.8, 0.56), (0.16, 0.54)),
        polygon((200, 60, 60), (0.08, 0.47), (0.17, 0.47), (0.12, 0.3), (0.06, 0.3)),
        polygon((175, 180, 190), (0.4, 0.52), (0.62, 0.52), (0.4, 0.8), (0.32, 0.8)),
        polygon((170, 175, 185), (0.08, 0.5), (0.2, 0.5), (0.1, 0.6), (0.05, 0.6)),
        oval((90, 95, 105), 0.44, 0.58, 0.54, 0.64),
        *row(9, 0.055, (60, 70, 90), 0.25, 0.475, 0.27, 0.495),
    ]),
    ("ship", (170, 200, 230), (210, 225, 235), [
        box((40, 80, 120), 0, 0.66, 1, 1),
        polygon((50, 55, 70), (0.06, 0.58), (0.94, 0.55), (0.84, 0.74), (0.16, 0.74)),
        polygon((160, 40, 40), (0.11, 0.7), (0.89, 0.7), (0.84, 0.75), (0.16, 0.75)),
        box((235, 235, 235), 0.2, 0.48, 0.72, 0.58),
        box((245, 245, 245), 0.28, 0.38, 0.6, 0.49),
        box((200, 60, 50), 0.36, 0.24, 0.44, 0.39),
        box((30, 30, 30), 0.36, 0.24, 0.44, 0.28),
        *row(7, 0.065, (60, 80, 110), 0.24, 0.51, 0.27, 0.54),
        box((80, 80, 80), 0.65, 0.2, 0.67, 0.5),
    ]),
    ("automobile", (185, 190, 195), (205, 205, 205), [
        box((110, 110, 112), 0, 0.68, 1, 1),
        oval((70, 70, 72), 0.08, 0.76, 0.92, 0.86),
        polygon((190, 25, 30), (0.05, 0.6), (0.1, 0.52), (0.27, 0.48), (0.38, 0.34), (0.66, 0.34), (0.8, 0.48),
                (0.93, 0.52), (0.95, 0.72), (0.06, 0.72)),
        polygon((60, 75, 95), (0.32, 0.48), (0.4, 0.37), (0.51, 0.37), (0.51, 0.48)),
        polygon((60, 75, 95), (0.54, 0.48), (0.54, 0.37), (0.64, 0.37), (0.74, 0.48)),
        *wheel(0.24, 0.72, 0.11, (25, 25, 28), (180, 180, 185)),
        *wheel(0.76, 0.72, 0.11, (25, 25, 28), (180, 180, 185)),
        box((250, 240, 180), 0.06, 0.55, 0.11, 0.59),
        box((120, 10, 10), 0.9, 0.55, 0.95, 0.59),
    ]),
    ("truck", (150, 185, 225), (205, 220, 235), [
        box((120, 118, 112), 0, 0.76, 1, 1),
        box((232, 232, 228), 0.05, 0.22, 0.64, 0.68),
        box((60, 60, 65), 0.05, 0.64, 0.95, 0.72),
        *row(5, 0.118, (205, 205, 200), 0.05, 0.22, 0.058, 0.66),
        polygon((40, 80, 170), (0.66, 0.32), (0.82, 0.32), (0.9, 0.48), (0.95, 0.5), (0.95, 0.7), (0.66, 0.7)),
        polygon((190, 215, 235), (0.71, 0.36), (0.8, 0.36), (0.86, 0.48), (0.71, 0.48)),
        *wheel(0.16, 0.74, 0.08, (22, 22, 24), (150, 150, 150)),
        *wheel(0.3, 0.74, 0.08, (22, 22, 24), (150, 150, 150)),
        *wheel(0.8, 0.74, 0.08, (22, 22, 24), (150, 150, 150)),
    ]),
    ("bird", (150, 180, 120), (110, 150, 80), [
        polygon((90, 70, 50), (0.12, 0.62), (0.3, 0.5), (0.34, 0.6)),
        oval((140, 100, 60), 0.24, 0.38, 0.7, 0.7),
        oval((150, 105, 60), 0.58, 0.24, 0.8, 0.46),
        polygon((230, 170, 40), (0.78, 0.33), (0.9, 0.36), (0.78, 0.39)),
        oval((10, 10, 10), 0.7, 0.3, 0.74, 0.34),
        polygon((95, 70, 45), (0.34, 0.46), (0.6, 0.46), (0.3, 0.62)),
        oval((215, 190, 150), 0.4, 0.5, 0.66, 0.68),
        *row(2, 0.08, (60, 40, 30), 0.45, 0.68, 0.47, 0.84),
        box((90, 65, 45), 0, 0.83, 1, 0.88),
    ]),
    ("frog", (120, 105, 80), (90, 80, 60), [
        oval((90, 140, 50), 0.12, 0.5, 0.4, 0.8),
        oval((90, 140, 50), 0.6, 0.5, 0.88, 0.8),
        oval((115, 165, 65), 0.22, 0.34, 0.78, 0.8),
        oval((115, 165, 65), 0.28, 0.26, 0.44, 0.42),
        oval((115, 165, 65), 0.56, 0.26, 0.72, 0.42),
        oval((230, 200, 60), 0.32, 0.29, 0.41, 0.38),
        oval((230, 200, 60), 0.59, 0.29, 0.68, 0.38),
        oval((10, 10, 10), 0.35, 0.31, 0.39, 0.37),
        oval((10, 10, 10), 0.61, 0.31, 0.65, 0.37),
        oval((205, 205, 150), 0.34, 0.58, 0.66, 0.8),
        oval((90, 140, 50), 0.1, 0.74, 0.34, 0.82),
        oval((90, 140, 50), 0.66, 0.74, 0.9, 0.82),
    ]),
    ("horse", (160, 195, 230), (200, 215, 225), [
        box((95, 140, 60), 0, 0.7, 1, 1),
        oval((110, 65, 35), 0.22, 0.38, 0.7, 0.62),
        polygon((110, 65, 35), (0.6, 0.46), (0.72, 0.18), (0.82, 0.16), (0.72, 0.52)),
        polygon((110, 65, 35), (0.7, 0.18), (0.8, 0.12), (0.95, 0.3), (0.9, 0.35), (0.76, 0.28)),
        *(polygon((90, 52, 28), (x - 0.02, 0.55), (x + 0.05, 0.55), (x + 0.035, 0.88), (x, 0.88)) for x in (0.27, 0.36, 0.56, 0.63)),
        polygon((40, 25, 15), (0.24, 0.42), (0.15, 0.48), (0.14, 0.7), (0.19, 0.66), (0.22, 0.5)),
        polygon((40, 25, 15), (0.6, 0.4), (0.68, 0.16), (0.73, 0.16), (0.66, 0.4)),
    ]),
]


def draw(top, bottom, shapes):
    down = np.linspace(0, 1, SIZE)[:, None, None]
    sky = np.broadcast_to((1 - down) * np.array(top) + down * np.array(bottom), (SIZE, SIZE, 3))
    image = Image.fromarray(sky.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for kind, colour, points in shapes:
        getattr(pen, kind)([(x * SIZE, y * SIZE) for x, y in points], fill=colour)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    folder = parser.parse_args().out
    os.makedirs(folder, exist_ok=True)
    for name, top, bottom, shapes in SCENES:
        draw(top, bottom, shapes).save(os.path.join(folder, name + ".png"), optimize=True)


if __name__ == "__main__":
    main()
