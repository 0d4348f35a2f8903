"""Models from memory: modules of PyTorch, and messages of `onnx`."""

import sys
import types

import numpy as np
import pytest
from conftest import MODEL

import fhec
from fhec.torch import to_onnx


def test_a_model_proto_is_a_model(program) -> None:
    onnx = pytest.importorskip("onnx")
    compiled = fhec.compile(onnx.load(MODEL), mean=0.1307, std=0.3081)
    assert compiled.image_shape == program.image_shape


class FakeModule:
    """What an export asks of a module."""

    training = True

    def state_dict(self) -> dict:
        return {}

    def parameters(self):
        return iter(())

    def eval(self) -> None:
        self.training = False

    def train(self, mode: bool) -> None:
        self.training = mode


class FakeTorch(types.ModuleType):
    """A PyTorch that exports one model, whatever the module, and keeps what it was asked for."""

    def __init__(self, version: str) -> None:
        super().__init__("torch")
        self.__version__ = version
        self.asked: dict = {}
        self.onnx = types.SimpleNamespace(export=self.export)

    def export(self, module, inputs, file, **options) -> None:
        assert not module.training
        if options.get("input_names") is None:
            raise ValueError("no names")
        self.asked = {"shape": inputs[0].shape, **options}
        file.write(MODEL.read_bytes())

    def zeros(self, shape):
        return np.zeros(shape)

    def no_grad(self):
        from contextlib import nullcontext

        return nullcontext()


@pytest.mark.parametrize(("version", "dynamo"), [("1.13.1", None), ("2.4.0+cpu", None), ("2.9.0", False)])
def test_modules_are_exported_in_eval_mode_for_one_image(monkeypatch, version: str, dynamo) -> None:
    torch = FakeTorch(version)
    monkeypatch.setitem(sys.modules, "torch", torch)
    module = FakeModule()
    program = fhec.compile(module, example_input=np.zeros((8, 1, 28, 28)), mean=0.1307, std=0.3081)
    assert torch.asked["shape"] == (1, 1, 28, 28) and torch.asked.get("dynamo") is dynamo
    assert module.training and program.name == "FakeModule"


def test_the_shape_of_an_input_is_that_of_calibration_images(monkeypatch) -> None:
    torch = FakeTorch("2.9.0")
    monkeypatch.setitem(sys.modules, "torch", torch)
    image = np.zeros((1, 28, 28), np.uint8)
    for calibration in (image, image[None], [(image[None], 3)], [image]):
        to_onnx(FakeModule(), None, calibration)
        assert torch.asked["shape"] == (1, 1, 28, 28)
    for calibration in (None, "images.npy", iter([image])):
        with pytest.raises(fhec.OptionError, match="example_input="):
            to_onnx(FakeModule(), None, calibration)
    with pytest.raises(fhec.OptionError, match="batch"):
        to_onnx(FakeModule(), np.zeros(3))


def test_what_pytorch_cannot_export_is_said(monkeypatch) -> None:
    torch = FakeTorch("2.9.0")
    torch.onnx.export = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("unsupported aten::foo"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    module = FakeModule()
    with pytest.raises(fhec.ModelError, match="aten::foo.*torch.onnx.export"):
        to_onnx(module, np.zeros((1, 1, 28, 28)))
    assert module.training


def test_a_network_of_pytorch_is_compiled_from_a_loader() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 3 * 3, 3),
    )
    images = torch.randn(60, 1, 8, 8)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, torch.zeros(60)), batch_size=16
    )
    program = fhec.compile(module, calibration=loader, relu_depth=3)
    assert module.training
    module.eval()
    with torch.no_grad():
        expected = module(images[:5]).numpy()
    np.testing.assert_allclose(program.plain(images[:5]), expected, atol=1e-5)
    assert program.name == "Sequential"
