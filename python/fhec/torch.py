"""Modules of PyTorch as ONNX models."""

import io
import warnings
from typing import Any

import numpy as np

from fhec._arrays import as_images, as_numpy
from fhec.errors import ModelError, OptionError


def to_onnx(module: Any, example_input: Any = None, calibration: Any = None) -> bytes:
    """Exports `module` in memory, in eval mode and for one image; its mode and place stay as they
    were.

    Args:
        module: A `torch.nn.Module` that takes one tensor.
        example_input: An array or tensor `[n, ...]` of network input. Without, the shape of the
            first of the `calibration` images is taken, `[c, h, w]` or `[n, c, h, w]`.

    Raises:
        OptionError: Neither tells the shape.
        ModelError: PyTorch cannot export the module. Its error is the cause.
    """
    import torch

    example = torch.zeros(_shape(example_input, calibration))
    parameter = next(iter(module.parameters()), None)
    if parameter is not None:
        example = example.to(device=parameter.device, dtype=parameter.dtype)
    training = module.training
    module.eval()
    file = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (example,), file, **_options(torch))
    except Exception as error:
        raise ModelError(
            f"PyTorch cannot export {type(module).__name__} to ONNX: {error}; export it yourself with "
            "torch.onnx.export, and give fhec.compile the file"
        ) from error
    finally:
        module.train(training)
    return file.getvalue()


def _options(torch: Any) -> dict[str, Any]:
    """The exporter that all versions have writes to memory; newer ones must be told to take it."""
    version = tuple(int(part) for part in str(torch.__version__).split("+")[0].split(".")[:2])
    options: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "opset_version": 13}
    return options | {"dynamo": False} if version >= (2, 5) else options


def _shape(example_input: Any, calibration: Any) -> tuple[int, ...]:
    """The shape of one image with a batch of 1."""
    if example_input is not None:
        shape = as_numpy(example_input).shape
        if len(shape) < 2:
            raise OptionError(
                f"example_input has shape {list(shape)}: a batch such as [1, c, h, w] is expected"
            )
        return (1, *shape[1:])
    if calibration is None:
        raise OptionError("a torch module does not tell the shape of its input: give example_input=")
    first = _first(calibration)
    array = as_images(first)
    if isinstance(array, str):
        raise OptionError("a file of images does not tell the shape of a module's input: give example_input=")
    return (1, *(array.shape if array.ndim == 3 else array.shape[1:]))


def _first(calibration: Any) -> Any:
    if isinstance(calibration, np.ndarray) or callable(getattr(calibration, "detach", None)):
        return calibration
    if isinstance(calibration, str) or not hasattr(calibration, "__iter__"):
        return calibration
    if iter(calibration) is calibration:
        raise OptionError("an iterator of images is used up by a look at its first: give example_input=")
    first = next(iter(calibration))
    return first[0] if isinstance(first, (list, tuple)) and len(first) == 2 else first
