"""The notebooks run from the first cell to the last."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((ROOT / "python" / "notebooks").glob("*.ipynb"))

#: What notebooks import that is not in every environment; the step `ray` of .ci/run has Ray.
NEEDS = {"2_own_model": ["onnx", "sklearn"], "5_ray": ["ray"]}


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    missing = [name for name in NEEDS.get(path.stem, []) if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed here")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
