"""Compiles, and program files."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from fhec import _native
from fhec._arrays import collect_images
from fhec.errors import OptionError
from fhec.program import Program

#: A path, the bytes of an ONNX file, an `onnx.ModelProto`, or a `torch.nn.Module`.
Model: TypeAlias = str | os.PathLike[str] | bytes | Any
Size: TypeAlias = int | str
Numbers: TypeAlias = float | Sequence[float] | None


def compile(
    model: Model,
    *,
    calibration: Any = None,
    security: Literal[98, 128, 192, 256] | None = None,
    agreement: float | None = None,
    relu_depth: int | None = None,
    relu_alpha: float | None = None,
    relu_degrees: Sequence[int] | None = None,
    preset: Literal["lee2021", "lee2021-stc-last"] | None = None,
    margin: float | None = None,
    encrypt_softmax: bool = False,
    packing: Literal["auto", "channel", "multiplexed", "pixel"] | None = None,
    batch: int | None = None,
    bootstrap_placement: Literal["optimal", "lazy", "lee2021"] | None = None,
    generic_keys: bool = False,
    max_ram: Size | None = None,
    precision_bits: float | None = None,
    log_scale: int | None = None,
    max_log_n: int | None = None,
    allow_inaccurate: bool = False,
    verify_each: bool = False,
    mean: Numbers = None,
    std: Numbers = None,
    scale: float | None = None,
    classes: Sequence[str] | None = None,
    input_layout: Literal["nchw", "nhwc"] | None = None,
    resize: int | None = None,
    crop: int | None = None,
    keep_rounding: bool = False,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    end_at: str | Sequence[str] = (),
    example_input: Any = None,
    calibration_images: int = 512,
    ranges: str | os.PathLike[str] | None = None,
    costs: str | os.PathLike[str] | None = None,
    max_latency: float | None = None,
    max_bootstraps: int | None = None,
    min_agreement: float | None = None,
    name: str | None = None,
) -> Program:
    """Compiles a pretrained network.

    Everything is decided here: polynomial activations, packing, parameters, levels, keys. The
    `plan` of the result says what and why. The same options give the same program as `fhec
    compile`, byte for byte.

    Args:
        model: The path of an ONNX file, its bytes, an `onnx.ModelProto`, or a `torch.nn.Module`,
            which is put into eval mode and exported in memory.
        calibration: Images that activations are fitted to and ranges are measured on, some hundred
            that the result is not judged by: an array, a file, or an iterable of arrays or of pairs
            of images and classes, such as a `DataLoader`. Without, what stands beside the model is
            used, as `fhec compile` does.
        security: Bits of security; 128, or those of the preset.
        agreement: Share of images in percent that must keep their class with the fitted
            activations; 99.5 with calibration images. One of `agreement`, `relu_depth`,
            `relu_alpha` and `relu_degrees` at most.
        relu_depth: Levels per ReLU.
        relu_alpha: Precision of ReLUs in bits.
        relu_degrees: Odd degrees of a composition for sign, such as (15, 27, 29).
        preset: A published program to follow.
        margin: What measured ranges are multiplied with, at least 1.
        encrypt_softmax: Evaluate a softmax at the end under encryption.
        packing: How tensors are laid out.
        batch: Images of one run.
        bootstrap_placement: Where ciphertexts are refreshed.
        generic_keys: Ask clients for keys that tell nothing of the layers.
        max_ram: Memory that an evaluation may take: bytes, or text such as "8GiB".
        precision_bits: Largest output error, in bits below the largest value.
        log_scale: The scale in bits, instead of searching it.
        max_log_n: `log2` of the largest ring degree.
        allow_inaccurate: Compile where an output would be wrong by more than it is.
        verify_each: Verify the program after each pass.
        mean, std, scale: How pixels become network input: `(p / scale - mean) / std`. If none is
            given, the TOML file beside the model says it.
        classes: Names of the classes.
        input_layout: Where the network's input has its channels; guessed from its shape.
        resize, crop: Pixels of the shorter side that picture files are scaled to, and of the square
            that is then cut from their middle.
        keep_rounding: Refuse a quantised model instead of leaving its rounding out.
        input_shape: Shape of the input, for models that leave dimensions open; by name for several.
        end_at: Tensors of the model that the network ends at, in place of the model's outputs.
        example_input: A batch that a torch module takes, for its export. Without, the first
            calibration image is taken.
        calibration_images: Most images that are taken from an iterable.
        ranges: JSON file with measured ranges, in place of calibration images.
        costs: What operations cost: ``"auto"``, measured on this machine the first time and kept;
            ``"zen5"``, built in and the same everywhere; or a file. Without, what the
            environment's ``FHEC_COSTS`` says, or else ``"auto"``.
        max_latency, max_bootstraps, min_agreement: Limits on the plan: seconds, a number, a share
            between 0 and 1. Beyond one of them `LimitError` is raised.
        name: What a network from memory is called.

    Raises:
        ModelError, DataError, OptionError, LimitError, CompileError.
    """
    if calibration is not None and ranges is not None:
        raise OptionError("calibration images and a file of ranges: give one of both")
    if agreement is not None and calibration is None:
        raise OptionError("agreement is measured on images: give calibration=")
    options: dict[str, Any] = {
        "security": security,
        "preset": preset,
        "relu": _relu(agreement, relu_depth, relu_alpha, relu_degrees),
        "margin": margin,
        "encrypt-softmax": encrypt_softmax,
        "packing": packing,
        "batch": batch,
        "bootstrap-placement": bootstrap_placement,
        "generic-keys": generic_keys,
        "max-ram": max_ram,
        "precision-bits": precision_bits,
        "log-scale": log_scale,
        "max-log-n": max_log_n,
        "allow-inaccurate": allow_inaccurate,
        "verify-each": verify_each,
    }
    source, known_as = _model(model, calibration, example_input)
    images = collect_images(calibration, calibration_images)
    program = _native.compile(
        source,
        name or known_as,
        json.dumps({key: value for key, value in options.items() if value is not None}),
        _normalisation(mean, std, scale, classes, input_layout, resize, crop),
        images,
        None if ranges is None else os.fspath(ranges),
        None if costs is None else os.fspath(costs),
        (_shapes(input_shape), [end_at] if isinstance(end_at, str) else list(end_at), keep_rounding),
        (max_latency, max_bootstraps, min_agreement),
    )
    return Program(program)


def load(program: str | os.PathLike[str] | bytes, *, min_security: int = 128) -> Program:
    """A program that `Program.save` or `fhec compile` wrote, from a file or its bytes.

    Security is computed, and a program that keeps less than `min_security` bits is refused. The
    file of a client holds no program: `fhec.Client` and `fhec.Interface.open` read it.
    """
    if isinstance(program, bytes):
        return Program(_native.Program.from_bytes(program, min_security))
    return Program(_native.Program.open(os.fspath(program), min_security))


def _relu(
    agreement: float | None, depth: int | None, alpha: float | None, degrees: Sequence[int] | None
) -> dict[str, Any] | None:
    given = {
        "agreement": agreement,
        "depth": depth,
        "alpha": alpha,
        "degrees": None if degrees is None else list(degrees),
    }
    asked = {key: value for key, value in given.items() if value is not None}
    if len(asked) > 1:
        raise OptionError(
            "agreement, relu_depth, relu_alpha and relu_degrees exclude each other: give one of them"
        )
    return asked or None


def _model(model: Any, calibration: Any, example_input: Any) -> tuple[str | bytes, str]:
    """The path or bytes of a model, and what it is called."""
    if isinstance(model, bytes):
        return model, "network"
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model), "network"
    if callable(getattr(model, "SerializeToString", None)):
        return model.SerializeToString(), "network"
    if callable(getattr(model, "state_dict", None)) and callable(getattr(model, "eval", None)):
        from fhec.torch import to_onnx

        return to_onnx(model, example_input, calibration), type(model).__name__
    raise OptionError(
        f"{type(model).__name__} is no model: give the path or the bytes of an ONNX file, an "
        "onnx.ModelProto or a torch.nn.Module"
    )


def _normalisation(
    mean: Numbers,
    std: Numbers,
    scale: float | None,
    classes: Sequence[str] | None,
    input_layout: str | None,
    resize: int | None,
    crop: int | None,
) -> str:
    given: dict[str, Any] = {
        "mean": _numbers(mean),
        "std": _numbers(std),
        "scale": scale,
        "classes": None if classes is None else [str(name) for name in classes],
        "input_layout": input_layout,
        "resize": resize,
        "crop": crop,
    }
    return json.dumps({key: value for key, value in given.items() if value is not None})


def _numbers(numbers: Numbers) -> list[float] | None:
    if numbers is None:
        return None
    return [float(number) for number in (numbers if isinstance(numbers, Sequence) else [numbers])]


def _shapes(shape: Sequence[int] | Mapping[str, Sequence[int]] | None) -> dict[str, list[int]]:
    if shape is None:
        return {}
    if isinstance(shape, Mapping):
        return {name: [int(size) for size in sizes] for name, sizes in shape.items()}
    # The only input has the empty name.
    return {"": [int(size) for size in shape]}
