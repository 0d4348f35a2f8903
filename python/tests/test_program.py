"""Compiles, program files, plans, and answers without encryption."""

import inspect
import json
import pickle
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import COMMAND, MODEL, MODELS
from PIL import Image

import fhec
from fhec import _native
from fhec.program import probabilities as _probabilities


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line that comes with the package."""
    words = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def test_every_option_of_a_compile_is_a_keyword() -> None:
    keywords = inspect.signature(fhec.compile).parameters
    # The one option that is several keywords, of which one at most is given.
    spelled = {"relu": {"agreement", "relu-depth", "relu-alpha", "relu-degrees"}}
    for option in json.loads(_native.option_defaults()):
        for name in spelled.get(option, {option}):
            assert name.replace("-", "_") in keywords, option


OPTIONS = [
    ({}, []),
    ({"security": 192, "margin": 1.5}, ["--security", 192, "--margin", 1.5]),
    ({"packing": "channel", "batch": 2}, ["--packing", "channel", "--batch", 2]),
    ({"relu_degrees": (7, 15)}, ["--relu-degrees", "7,15"]),
    (
        {"max_ram": "2GiB", "bootstrap_placement": "lazy"},
        ["--max-ram", "2GiB", "--bootstrap-placement", "lazy"],
    ),
    ({"mean": 0.1307, "std": [0.3081], "scale": 255.0}, ["--mean", 0.1307, "--std", 0.3081, "--scale", 255]),
    (
        {"input_layout": "nchw", "input_shape": [1, 1, 28, 28]},
        ["--input-layout", "nchw", "--input-shape", "1,1,28,28"],
    ),
    ({"end_at": "/Flatten_output_0"}, ["--end-at", "/Flatten_output_0"]),
]


@pytest.mark.parametrize(("keywords", "flags"), OPTIONS)
def test_the_same_options_give_the_same_bytes_as_the_command(keywords, flags, tmp_path: Path) -> None:
    done = command("compile", MODEL, "-o", tmp_path / "net.fhec", *flags)
    assert done.returncode == 0, done.stderr
    assert bytes(fhec.compile(MODEL, **keywords)) == (tmp_path / "net.fhec").read_bytes()


def test_so_does_calibration_on_an_array_and_on_its_file(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    flags = ["--calibration", tmp_path / "images.npy", "--relu-depth", 3]
    done = command("compile", MODELS / "mnist_cnn.onnx", "-o", tmp_path / "net.fhec", *flags)
    assert done.returncode == 0, done.stderr
    expected = (tmp_path / "net.fhec").read_bytes()
    for calibration in (images, tmp_path / "images.npy", list(images), ((image, 0) for image in images)):
        program = fhec.compile(MODELS / "mnist_cnn.onnx", calibration=calibration, relu_depth=3)
        assert bytes(program) == expected
    assert program.plan.agreement is not None


def test_a_model_may_be_bytes(tmp_path: Path) -> None:
    program = fhec.compile(
        MODEL.read_bytes(), mean=0.1307, std=0.3081, name="mine", classes=list("abcdefghij")
    )
    assert program.name == "mine"
    assert program.classes == list("abcdefghij")
    # A copy without files beside it: ranges are those of interval arithmetic in both.
    alone = tmp_path / "mine.onnx"
    alone.write_bytes(MODEL.read_bytes())
    assert bytes(fhec.compile(alone, mean=0.1307, std=0.3081, classes=list("abcdefghij"))) == bytes(program)


def test_without_normalisation_the_plan_says_so(tmp_path: Path) -> None:
    alone = tmp_path / "net.onnx"
    alone.write_bytes(MODEL.read_bytes())
    assert any("no normalisation given" in note for note in fhec.compile(alone).plan.notes)
    assert not any("no normalisation given" in note for note in fhec.compile(MODEL).plan.notes)
    # Names of classes alone do not take the place of the file beside the model.
    named = fhec.compile(MODEL, classes=["zero"])
    assert named.interface.normalisation == fhec.compile(MODEL).interface.normalisation


def test_programs_are_saved_loaded_and_pickled(program: fhec.Program, tmp_path: Path) -> None:
    size = program.save(tmp_path / "net.fhec")
    assert size == (tmp_path / "net.fhec").stat().st_size
    assert fhec.load(tmp_path / "net.fhec") == program
    assert fhec.load(bytes(program)) == program
    copy = pickle.loads(pickle.dumps(program))
    assert copy == program and hash(copy) == hash(program)
    server = program.save(tmp_path / "net.server.fhec", part="server")
    client = program.save(tmp_path / "net.client.fhec", part="client")
    assert client < server < size
    assert fhec.Interface.open(tmp_path / "net.client.fhec").digest == program.digest
    with pytest.raises(fhec.ProgramError, match="fhec client"):
        fhec.load(tmp_path / "net.client.fhec")
    with pytest.raises(fhec.ProgramError, match="made for a server"):
        fhec.load(tmp_path / "net.server.fhec").plain(np.zeros((1, 28, 28), np.uint8))


def test_programs_of_less_security_are_asked_for() -> None:
    weak = fhec.compile(MODEL, security=98)
    with pytest.raises(fhec.SecurityError, match="98"):
        fhec.load(bytes(weak))
    assert fhec.load(bytes(weak), min_security=98) == weak
    assert pickle.loads(pickle.dumps(weak)) == weak


def test_a_plan_is_a_mapping_with_attributes(program: fhec.Program) -> None:
    plan = program.plan
    assert plan["network"] == "mnist_cnn_deg3" and len(plan) == len(dict(plan)) > 20
    assert (plan.security_bits, plan.bootstraps, plan.batch) == (128, 0, 1)
    assert plan.key_bytes > 0 and plan.predicted_seconds > 0 and plan.predicted_peak_bytes > plan.key_bytes
    assert len(plan.layers) == len(plan["layers"]) > 3
    assert "128 bits" in str(plan) and "mnist_cnn_deg3" in repr(plan)
    assert plan._repr_html_().startswith("<table") and "<script" not in plan._repr_html_()
    assert plan.html().startswith("<!doctype html>")
    done = command("compile", MODEL, "--json", "-o", "/dev/null")
    assert json.loads(done.stdout) == dict(plan)


def test_simulations_compare_with_the_plain_network_and_with_labels(program, digits) -> None:
    images, labels = digits
    simulation = program.simulate(images, labels)
    plain = program.plain(images)
    assert simulation.logits.shape == simulation.reference.shape == plain.shape == (len(images), 10)
    np.testing.assert_array_equal(simulation.reference, plain)
    assert 0 < np.abs(simulation.logits - plain).max() == simulation.max_logit_difference < 1e-3
    assert simulation.agreement == 1.0
    low, high = simulation.agreement_interval
    assert 0.7 < low < high == 1.0
    assert simulation.accuracy == (plain.argmax(axis=1) == labels).mean() == simulation.reference_accuracy
    wrong = program.simulate(images, (labels + 1) % 10)
    assert wrong.accuracy < 0.2 and wrong.agreement == 1.0
    assert program.simulate(images).accuracy is None
    again, other = program.simulate(images), program.simulate(images, seed=2)
    np.testing.assert_array_equal(again.logits, simulation.logits)
    assert (other.logits != simulation.logits).any()
    exact = program.simulate(images, noise=False)
    assert exact.max_logit_difference < simulation.max_logit_difference
    assert "agreement" in repr(simulation) and simulation._repr_html_().startswith("<table")


def test_probabilities_are_those_that_codes_stand_for() -> None:
    probabilities = np.array([[0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])
    for ending, numbers in [("softmax", probabilities), ("log_softmax", np.log(probabilities + 1e-30))]:
        output = ("codes", [1, 3], True, ending, (256.0, -128.0))
        found = _probabilities(256.0 * numbers - 128.0, SimpleNamespace(outputs=[output]))
        np.testing.assert_allclose(found, probabilities, atol=1e-12)


def test_modes_classes_and_probabilities(program, digits) -> None:
    images, _ = digits
    np.testing.assert_array_equal(program(images, mode="plain"), program.plain(images))
    np.testing.assert_array_equal(program(images), program.simulate(images).logits)
    classes = program.predict(images)
    assert classes.dtype == np.int64 and classes.shape == (len(images),)
    probabilities = program.predict_proba(images, mode="plain")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), classes)
    with pytest.raises(fhec.OptionError, match="'plain', 'simulate' and 'encrypted'"):
        program(images, mode="encryption")


def test_options_that_make_no_sense_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(fhec.OptionError, match="98, 128, 192 and 256"):
        fhec.compile(MODEL, security=100)
    with pytest.raises(fhec.OptionError, match="one of them"):
        fhec.compile(MODEL, relu_depth=3, relu_alpha=9.0)
    with pytest.raises(fhec.OptionError, match="calibration="):
        fhec.compile(MODEL, agreement=99.0)
    with pytest.raises(fhec.OptionError, match="unknown variant"):
        fhec.compile(MODEL, packing="dense")
    with pytest.raises(fhec.OptionError, match="unit"):
        fhec.compile(MODEL, max_ram="3 parsecs")
    with pytest.raises(fhec.OptionError, match="above 0"):
        fhec.compile(MODEL, mean=0.1, std=0.0)
    with pytest.raises(fhec.OptionError, match="fixes it"):
        fhec.compile(MODEL, preset="lee2021", batch=2)
    with pytest.raises(fhec.OptionError, match="no model"):
        fhec.compile(3)
    with pytest.raises(fhec.OptionError, match="'all', 'server' and 'client'"):
        fhec.compile(MODEL).save(tmp_path / "never", part="both")
    assert not (tmp_path / "never").exists()


def test_models_and_limits_that_fail_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(fhec.ModelError, match="cannot read"):
        fhec.compile(tmp_path / "absent.onnx")
    with pytest.raises(fhec.ModelError, match="picture|PNG"):
        fhec.compile((MODELS / "digits" / "digit_7_a.png").read_bytes())
    with pytest.raises(fhec.LimitError, match="at most"):
        fhec.compile(MODEL, max_latency=1e-6)
    with pytest.raises(fhec.LimitError):
        fhec.compile(MODEL, max_ram="1MiB")
    with pytest.raises(fhec.FileError):
        fhec.compile(MODEL, costs=tmp_path / "absent.json")
    (tmp_path / "not.fhec").write_bytes(b"not a program")
    with pytest.raises(fhec.ProgramError, match="fhec compile"):
        fhec.load(tmp_path / "not.fhec")
    for error in (fhec.OptionError, fhec.DataError):
        assert issubclass(error, ValueError) and issubclass(error, fhec.FhecError)


def test_pictures_are_made_to_fit(tmp_path: Path) -> None:
    large = Image.open(MODELS / "digits" / "digit_7_a.png").resize((84, 84), Image.Resampling.NEAREST)
    wide = Image.new("L", (120, 84))
    wide.paste(large, (18, 0))
    wide.save(tmp_path / "wide.png")
    program = fhec.compile(MODEL, resize=28, crop=28)
    assert program.predict(tmp_path / "wide.png").tolist() == [7]
    with pytest.raises(fhec.DataError, match="--crop 28"):
        fhec.compile(MODEL).predict(tmp_path / "wide.png")


def test_rounding_may_be_insisted_on() -> None:
    assert fhec.compile(MODEL, keep_rounding=True) == fhec.compile(MODEL)
