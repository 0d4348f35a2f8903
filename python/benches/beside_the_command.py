"""Evaluations from Python and of the command, by turns: what do calls from Python cost?

    python python/benches/beside_the_command.py PROGRAM.fhec [TURNS] [IMAGES]

Both evaluate random images with the library of the installed wheel. Each turn prints the times of
both, in seconds; the last lines have the least, the medians, and the median of the turns' ratios of
the tenth percentiles.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fhec


def percentile(times: list[float]) -> float:
    return sorted(times)[len(times) // 10]


def main(path: str, turns: int = 5, images: int = 40) -> None:
    program = fhec.load(path)
    pictures = np.random.default_rng(1).integers(0, 256, (images, *program.image_shape), dtype=np.uint8)
    command = str(Path(sys.executable).parent / "fhec")
    client = fhec.Client(program)
    session = fhec.Server(program).session(client.evaluation_keys())
    session.evaluate(client.encrypt(pictures[0]))
    ours, theirs, ratios = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "images.npy")
        np.save(file, pictures)
        words = [command, "run", path, "--input", file, "--count", str(images), "--json"]
        for turn in range(turns):
            python = []
            for picture in pictures:
                encrypted = client.encrypt(picture)
                start = time.perf_counter()
                session.evaluate(encrypted)
                python.append(time.perf_counter() - start)
            # Random images may leave the range of a network, which the command says in the end.
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            rust = [image["seconds"] for image in json.loads(done.stdout)["images"]]
            ours, theirs = ours + python, theirs + rust
            ratios.append(percentile(python) / percentile(rust))
            print(
                turn,
                f"Python {percentile(python):.4f}, command {percentile(rust):.4f}, ratio {ratios[-1]:.3f}",
            )
    print(f"least: Python {min(ours):.4f}, command {min(theirs):.4f}")
    print(f"median: Python {statistics.median(ours):.4f}, command {statistics.median(theirs):.4f}")
    print(f"median of ratios: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
