"""What tests share: one program, one client, one session."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fhec

# Plans are the same everywhere with the built-in prices alone.
os.environ["FHEC_COSTS"] = "zen5"

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
MODEL = MODELS / "mnist_cnn_deg3.onnx"
#: The command that the package brings along.
COMMAND = Path(sys.executable).parent / "fhec"


@pytest.fixture(scope="session")
def program() -> fhec.Program:
    return fhec.compile(MODEL)


@pytest.fixture(scope="session")
def client(program: fhec.Program) -> fhec.Client:
    return fhec.Client(program)


@pytest.fixture(scope="session")
def keys(client: fhec.Client) -> fhec.EvaluationKeys:
    return client.evaluation_keys()


@pytest.fixture(scope="session")
def session(program: fhec.Program, keys: fhec.EvaluationKeys) -> fhec.Session:
    return fhec.Server(program).session(keys)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures `[n, 1, 28, 28]` of `models/digits`, and their classes."""
    paths = sorted((MODELS / "digits").glob("digit_*.png"))
    pictures = [np.asarray(Image.open(path))[None] for path in paths]
    return np.stack(pictures), np.array([int(path.name[6]) for path in paths])
