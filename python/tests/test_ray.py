"""Answers on a local cluster of Ray."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, ROOT

import fhec
import fhec.ray
from fhec.ray import Evaluator

NAMES = ["ann", "bob"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder that all machines see: a program, and the keys of two clients."""
    folder = tmp_path_factory.mktemp("shared")
    program = fhec.compile(MODEL)
    program.save(folder / "net.fhec", part="server")
    for name in NAMES:
        fhec.Client(program, folder / "secret" / name).evaluation_keys().save(folder / "keys" / name)
    return folder


@pytest.fixture(scope="module")
def clients(shared: Path, program: fhec.Program) -> dict[str, fhec.Client]:
    return {name: fhec.Client.open(program, shared / "secret" / name) for name in NAMES}


@pytest.fixture(scope="module")
def rows(clients, digits) -> list[dict]:
    images, _ = digits
    return [
        {"id": index, "key": NAMES[index % 2], "ciphertext": bytes(clients[NAMES[index % 2]].encrypt(image))}
        for index, image in enumerate(images[:8])
    ]


def check(answers: list[dict], rows: list[dict], clients, program, digits) -> None:
    """Every row is answered once, by the class of the plain network."""
    assert sorted(row["id"] for row in answers) == [row["id"] for row in rows]
    expected = program.predict(digits[0], mode="plain")
    for row in answers:
        assert row["error"] == ""
        answer = clients[row["key"]].decrypt(bytes(row["answer"]), images=1)
        assert answer.classes[0] == expected[row["id"]]


def test_an_evaluator_answers_row_by_row(shared, rows, clients, program, digits) -> None:
    before = fhec.num_threads()
    evaluator = Evaluator(shared / "net.fhec", shared / "keys", max_key_bytes=0)
    batch = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
    answered = evaluator(batch)
    answers = [dict(zip(answered, values, strict=True)) for values in zip(*answered.values(), strict=True)]
    check(answers, rows, clients, program, digits)
    assert len(evaluator._sessions) == 1
    assert fhec.num_threads() == before


def test_rows_that_cannot_be_answered_say_why_and_stop_no_other(shared, rows) -> None:
    evaluator = Evaluator(shared / "net.fhec", shared / "keys")
    image, other = rows[0]["ciphertext"], rows[1]["ciphertext"]
    batch = {
        "key": ["ann", "ann", "nobody", "../keys/ann", "ann", ""],
        "ciphertext": [other, b"nonsense", image, image, image, image],
    }
    answered = evaluator(batch)
    assert [bool(answer) for answer in answered["answer"]] == [False, False, False, False, True, False]
    for error, says in zip(
        answered["error"],
        ["belongs to key", "FHEB", "evaluation.keys", "no name", "", "no name"],
        strict=True,
    ):
        assert says in error and bool(says) == bool(error)


def test_keys_not_asked_for_longest_go_first(shared) -> None:
    evaluator = Evaluator(shared / "net.fhec", shared / "keys", max_key_bytes=1 << 40)
    ann = evaluator.session("ann")
    evaluator.session("bob")
    assert evaluator.session("ann") is ann and list(evaluator._sessions) == ["bob", "ann"]
    evaluator._max_key_bytes = 1
    evaluator._sessions.pop("bob")
    evaluator.session("bob")
    assert list(evaluator._sessions) == ["bob"]


def test_nodes_of_a_cluster_answer_and_one_whose_worker_is_killed_goes_on() -> None:
    """The benchmark, with few images: it checks each answer, where actors are, and what was begun
    again. It comes before the cluster below.
    """
    pytest.importorskip("ray", reason="pip install 'fhec[ray]'")
    bench = ROOT / "python" / "benches" / "ray_cluster.py"
    words = [sys.executable, bench, MODEL, "--count", "28", "--batch", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("28 of 28 right") == 3


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="pip install 'fhec[ray]'")
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    yield ray
    ray.shutdown()


def dying() -> type[Evaluator]:
    """An evaluator whose process ends in its second batch, once. A class of its own, as workers
    cannot import this module.
    """

    class Dying(Evaluator):
        def __init__(self, *arguments, marker: str, **keywords) -> None:
            super().__init__(*arguments, **keywords)
            self._marker = Path(marker)
            self._batches = 0

        def __call__(self, batch):
            self._batches += 1
            if self._batches == 2 and not self._marker.exists():
                self._marker.touch()
                os._exit(1)
            return super().__call__(batch)

    return Dying


def test_a_data_set_is_answered(cluster, shared, rows, clients, program, digits) -> None:
    dataset = cluster.data.from_items(rows)
    answers = fhec.ray.map_batches(dataset, shared / "net.fhec", shared / "keys", actors=2, batch_size=2)
    check(answers.take_all(), rows, clients, program, digits)


def meeting() -> type[Evaluator]:
    """An evaluator whose batches wait until two processes have one. A class of its own, as above."""

    class Meeting(Evaluator):
        def __init__(self, *arguments, place: str, **keywords) -> None:
            super().__init__(*arguments, **keywords)
            self._place = Path(place)

        def __call__(self, batch):
            import time

            (self._place / str(os.getpid())).touch()
            end = time.monotonic() + 60
            while len(list(self._place.iterdir())) < 2 and time.monotonic() < end:
                time.sleep(0.05)
            return super().__call__(batch)

    return Meeting


def test_images_of_one_client_go_to_all_actors(
    cluster, shared, rows, clients, program, digits, tmp_path
) -> None:
    one = [row | {"id": index} for index, row in enumerate(row for row in rows if row["key"] == "ann")]
    answers = fhec.ray.map_batches(
        cluster.data.from_items(one),
        shared / "net.fhec",
        shared / "keys",
        actors=2,
        batch_size=2,
        evaluator=meeting(),
        place=str(tmp_path),
    )
    images = digits[0][:8:2], digits[1][:8:2]
    check(answers.take_all(), one, clients, program, images)
    assert len(list(tmp_path.iterdir())) == 2


def test_threads_are_the_processors_that_ray_has_assigned(cluster) -> None:
    class Actor:
        def processors(self) -> int | None:
            return fhec.ray._assigned_processors()

    for asked, threads in [(2, 2), (1, 1), (0.5, 1), (0, None)]:
        actor = cluster.remote(num_cpus=asked)(Actor).remote()
        assert cluster.get(actor.processors.remote()) == threads
        cluster.kill(actor)


def test_a_worker_that_dies_is_replaced_and_every_row_comes_out_once(
    cluster, shared, rows, clients, program, digits, tmp_path
) -> None:
    marker = tmp_path / "died"
    answers = fhec.ray.map_batches(
        cluster.data.from_items(rows),
        shared / "net.fhec",
        shared / "keys",
        batch_size=2,
        evaluator=dying(),
        marker=str(marker),
    )
    check(answers.take_all(), rows, clients, program, digits)
    assert marker.exists()


def test_a_service_answers_each_client_with_its_keys(cluster, shared, rows, clients, program, digits) -> None:
    serve = pytest.importorskip("ray.serve", reason="pip install 'ray[serve]'")
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    def ask(client: str, body: bytes) -> bytes:
        headers = {"serve_multiplexed_model_id": client}
        with urlopen(Request("http://127.0.0.1:8000/", body, headers), timeout=60) as response:
            return response.read()

    serve.run(fhec.ray.deployment(shared / "net.fhec", shared / "keys", clients=2))
    try:
        answers = [row | {"answer": ask(row["key"], row["ciphertext"]), "error": ""} for row in rows[:4]]
        check(answers, rows[:4], clients, program, digits)
        for client, body, code in [("nobody", rows[0]["ciphertext"], 404), ("ann", b"nonsense", 400)]:
            with pytest.raises(HTTPError) as refused:
                ask(client, body)
            assert refused.value.code == code and b"Traceback" not in refused.value.read()
    finally:
        serve.shutdown()
