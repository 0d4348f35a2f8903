"""Draws the plots of the pages from the tables beside this file.

    python docs/plots/draw.py [FOLDER]

Without a folder they go to docs/pictures. The step `site` of .ci/run draws them again, and fails
where they are not those of the repository. It has the version of matplotlib that
docs/requirements.txt names; another one draws other bytes.
"""

import csv
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams |= {
    # Names of elements do not change from run to run, and letters stay letters.
    "svg.hashsalt": "fhec",
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

from matplotlib import pyplot  # noqa: E402  (after the choice of a backend)

HERE = Path(__file__).resolve().parent
OURS, OTHERS = "#00796b", "#90a4ae"


def rows(name: str) -> list[dict[str, str]]:
    with open(HERE / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def save(figure: pyplot.Figure, folder: Path, name: str) -> None:
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def resnet20(folder: Path) -> None:
    """Seconds of a ResNet-20 on one picture, by tool."""
    table = rows("resnet20.csv")
    figure, axes = pyplot.subplots(figsize=(7, 2.2))
    names = [row["tool"] for row in table]
    seconds = [float(row["seconds"]) for row in table]
    axes.barh(names, seconds, color=[OURS if name == "fhec" else OTHERS for name in names], height=0.6)
    for index, (row, value) in enumerate(zip(table, seconds, strict=True)):
        axes.text(value * 1.15, index, f"{value:,.0f} s, {row['cores']}, {row['memory']}", va="center")
    axes.set_xscale("log")
    axes.set_xlim(1, 1e6)
    axes.set_xlabel("seconds for one picture (logarithmic)")
    axes.invert_yaxis()
    save(figure, folder, "resnet20")


def networks(folder: Path) -> None:
    """Seconds and memory of networks on two cores, with what the plans said."""
    table = rows("networks.csv")
    figure, axes = pyplot.subplots(figsize=(7, 2.6))
    names = [row["network"] for row in table]
    measured = [float(row["measured"]) for row in table]
    axes.barh(names, measured, color=OURS, height=0.6, label="measured")
    for index, (row, value) in enumerate(zip(table, measured, strict=True)):
        # Empty where no prediction is of the build that was measured.
        predicted = float(row["predicted"] or "nan")
        axes.plot(predicted, index, "|", color="black", markersize=16, label="" if index else "predicted")
        text = f"{value:,.0f} s, {row['gibibytes']} GiB, {row['machine']}"
        axes.text(np.nanmax([value, predicted]) * 1.15, index, text, va="center")
    axes.set_xscale("log")
    axes.set_xlim(1, 1e4)
    axes.set_xlabel("seconds for one picture, two cores (logarithmic)")
    axes.invert_yaxis()
    axes.legend(loc="upper right", frameon=False)
    save(figure, folder, "networks")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    resnet20(folder)
    networks(folder)


if __name__ == "__main__":
    main()
