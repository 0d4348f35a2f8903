"""A service in another process, and its client here."""

import json
import os
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, MODEL

import fhec


@dataclass
class Served:
    """A running `fhec serve`, and a token of it."""

    url: str
    token: str
    folder: Path


@pytest.fixture(scope="module")
def served(program, tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "models").mkdir()
    program.save(folder / "models" / "mnist.server.fhec", part="server")
    fhec.compile(MODEL, packing="channel").save(folder / "models" / "slow.server.fhec", part="server")
    tokens = str(folder / "tokens")
    made = subprocess.run(
        [COMMAND, "serve", "token", "ann", "--tokens", tokens], capture_output=True, text=True, check=True
    )
    arguments = [COMMAND, "serve", "models", "--state", "state", "--tokens", tokens, "--json"]
    service = subprocess.Popen([*arguments, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, cwd=folder)
    assert service.stdout is not None
    text = b""
    while not text.endswith(b"}\n"):
        line = service.stdout.readline()
        assert line, text
        text += line
    yield Served(f"http://{json.loads(text)['address']}", made.stdout.split()[-1], folder)
    service.terminate()
    assert service.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def remote(served: Served) -> fhec.RemoteServer:
    return fhec.RemoteServer(served.url, token=served.token, home=served.folder / "home", patience=20)


def test_from_nothing_to_an_answer(served, remote, program, digits) -> None:
    images, _ = digits
    told: list[tuple[int, int]] = []
    answer = remote.classify("mnist", images[:2], progress=lambda *steps: told.append(steps))
    np.testing.assert_array_equal(answer.classes, program.predict(images[:2], mode="plain"))
    assert answer.logits.shape == (2, 10)
    assert all(0 <= done <= total for done, total in told) and told
    (model,) = [model for model in remote.models() if model["name"] == "mnist"]
    (keys,) = remote.keys()
    assert model["keys"] == [keys["keys"]] and keys["state"] == "whole"
    # The second picture costs no keys.
    before, _ = remote.traffic
    remote.classify("mnist", images[0])
    assert remote.traffic[0] - before < 2 * model["input_max_bytes"] < keys["length"]
    assert len(remote.jobs()) == 3
    remote.delete_job(remote.jobs()[0]["id"])
    assert len(remote.jobs()) == 2
    # The command finds the same keys.
    arguments = [COMMAND, "remote", served.url, "--home", served.folder / "home", "--json", "keys", "list"]
    environment = os.environ | {"FHEC_TOKEN": served.token}
    listed = subprocess.run(arguments, capture_output=True, env=environment, check=True)
    assert json.loads(listed.stdout)[0]["keys"] == keys["keys"]


def test_a_session_is_as_one_of_this_machine(remote, program, digits) -> None:
    client = remote.client("mnist")
    assert client.interface.digest == program.interface.digest
    session = remote.session("mnist", client)
    answer = session.evaluate(client.encrypt(digits[0][0]), deadline=60)
    assert answer.images == 1
    assert answer.receipt is not None and answer.receipt["keys"] == session.keys
    assert answer.receipt["program"] == program.interface.digest
    here = client.decrypt(answer, raw=True).logits
    np.testing.assert_allclose(here, program.plain(digits[0][:1]), atol=1e-3)
    assert pickle.loads(pickle.dumps(answer)).receipt == answer.receipt


def test_keys_in_memory_cannot_be_uploaded(remote) -> None:
    with pytest.raises(fhec.OptionError, match="folder"):
        remote.session("mnist", fhec.Client(remote.interface("mnist")))


def test_what_is_given_up_is_cancelled_at_the_service(remote, digits) -> None:
    client = remote.client("slow")
    session = remote.session("slow", client)
    image = client.encrypt(digits[0][0])

    def states() -> set[str]:
        return {job["state"] for job in remote.jobs() if job["model"] == "slow"}

    def is_cancelled() -> None:
        begun = time.monotonic()
        while states() - {"cancelled", "done"}:
            assert time.monotonic() - begun < 30
            time.sleep(0.02)

    control = fhec.Control()
    threading.Timer(0.05, control.cancel).start()
    with pytest.raises(fhec.Cancelled):
        session.evaluate(image, control=control)
    is_cancelled()
    with pytest.raises(fhec.DeadlineExceeded):
        session.evaluate(image, control=fhec.Control(timeout=0.02))
    is_cancelled()

    class Enough(Exception):
        pass

    def enough(*_: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        session.evaluate(image, progress=enough)
    is_cancelled()
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        for _ in range(100):
            session.evaluate(image)
    is_cancelled()
    assert "cancelled" in states()
    # And it still answers.
    assert session.evaluate(image).images == 1


def test_refusals_have_their_code(served, remote, digits) -> None:
    with pytest.raises(fhec.RemoteError) as refused:
        fhec.RemoteServer(served.url, token="nobody's", home=served.folder / "other").models()
    assert refused.value.code == "unauthorized"
    with pytest.raises(fhec.RemoteError) as refused:
        remote.interface("nothing")
    assert refused.value.code == "not_found"
    session = remote.session("mnist")
    with pytest.raises(fhec.CiphertextError):
        session.evaluate(b"FHEB" + bytes(100))
    with pytest.raises(fhec.OptionError):
        session.evaluate(b"FHEB", deadline=-1)
    # Images that are none of the model cost no upload.
    before, _ = remote.traffic
    with pytest.raises(fhec.DataError):
        remote.classify("mnist", np.zeros((1, 3, 5, 5), np.uint8))
    assert remote.traffic[0] == before
    nobody = fhec.RemoteServer("http://127.0.0.1:9", home=served.folder / "other", patience=0)
    with pytest.raises(fhec.RemoteError, match="reached") as unreachable:
        nobody.models()
    assert unreachable.value.code is None
    for url in ["ftp://x", "http://example.com", "x"]:
        with pytest.raises(fhec.OptionError):
            fhec.RemoteServer(url, token="secret", home=served.folder / "other")


def test_connections_are_not_pickled_and_show_no_token(served, remote) -> None:
    assert served.token not in repr(remote)
    for one in (remote, remote.session("mnist")):
        with pytest.raises(fhec.FhecError, match="not pickled"):
            pickle.dumps(one)
