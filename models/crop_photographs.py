"""Crop pictures out of the photographs that scikit-image and scikit-learn ship.

Usage: crop_photographs.py --size 224 --count 48 --out DIR

Each crop is a square of random place and size, mirrored at random, scaled to SIZE pixels and written as PNG. The photographs
are in the packages themselves; nothing is fetched.
"""
import argparse, os
import numpy as np
import skimage.data, sklearn.datasets
from PIL import Image

def main():
    a = argparse.ArgumentParser()
    a.add_argument("--size", type=int, default=224); a.add_argument("--count", type=int, default=48)
    a.add_argument("--seed", type=int, default=0); a.add_argument("--out", required=True)
    o = a.parse_args()
    skimage_names = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry", "camera", "coins")
    photographs = [np.asarray(getattr(skimage.data, name)()) for name in skimage_names]
    photographs += list(sklearn.datasets.load_sample_images().images)
    random = np.random.default_rng(o.seed)
    os.makedirs(o.out, exist_ok=True)
    for index in range(o.count):
        image = Image.fromarray(photographs[index % len(photographs)]).convert("RGB")
        side = int(random.uniform(0.4, 1.0) * min(image.size))
        left, top = (int(random.uniform(0, length - side + 1)) for length in image.size)
        crop = image.crop((left, top, left + side, top + side)).resize((o.size, o.size), Image.BICUBIC)
        if random.uniform() < 0.5:
            crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
        crop.save(os.path.join(o.out, f"crop{index:03}.png"))

if __name__ == "__main__":
    main()
