"""Client and server: in memory, apart, and what each refuses."""

import logging
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, MODEL

import fhec


def test_an_encrypted_answer_is_that_of_the_simulation(program, client, session, digits) -> None:
    images, _ = digits
    encrypted = client.encrypt(images[:1])
    assert encrypted.images == 1
    answer = client.decrypt(session.evaluate(encrypted), raw=True)
    np.testing.assert_allclose(answer.logits, program.simulate(images[:1]).logits, atol=1e-3)
    assert answer.logits.shape == (1, 10) and answer.classes.shape == (1,)
    assert answer.class_names == [str(answer.classes[0])]
    np.testing.assert_allclose(answer.probabilities.sum(), 1.0)
    np.testing.assert_array_equal(np.asarray(answer), answer.logits)
    copy = pickle.loads(pickle.dumps(answer))
    np.testing.assert_array_equal(copy.logits, answer.logits)
    assert copy.interface.digest == program.digest


def test_numbers_are_rounded_to_what_is_certain(client, session, digits) -> None:
    answer = session.evaluate(client.encrypt(digits[0][0]))
    rounded, raw = client.decrypt(answer).logits, client.decrypt(answer, raw=True).logits
    step = client.interface.certain_step
    assert (rounded != raw).any() and np.abs(rounded - raw).max() <= step / 2 + 1e-12
    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-6)


def test_classes_that_cannot_be_told_apart_are_named(program) -> None:
    logits = np.array([[1.0, 3.0, 3.0, 0.0], [2.0, 1.0, 0.0, -1.0]])
    answer = fhec.Answer({"logits": logits}, program.interface)
    assert list(answer.classes) == [1, 0] and answer.tied_classes == [[2], []]


def test_encryptions_of_one_image_differ_and_evaluations_of_one_ciphertext_do_not(
    client, session, digits
) -> None:
    image = digits[0][0]
    one, two = client.encrypt(image), client.encrypt(image)
    assert one != two
    assert session.evaluate(one) == session.evaluate(one) != session.evaluate(two)


def test_run_does_all_of_it_and_keeps_its_keys(program, client, digits) -> None:
    images, _ = digits
    answers = program.run(images[:2])
    np.testing.assert_allclose(answers, program.plain(images[:2]), atol=1e-3)
    kept = program._local
    np.testing.assert_array_equal(program.predict(images[:1], mode="encrypted"), answers[:1].argmax(axis=1))
    assert program._local is kept
    program.run(images[0], client=client)
    assert program._local is not kept and program._local[0] is client
    program.forget_keys()
    assert program._local is None
    assert pickle.loads(pickle.dumps(program))._local is None


def test_batches_are_answered_image_by_image(digits) -> None:
    images, _ = digits
    program = fhec.compile(MODEL, batch=4)
    client = fhec.Client(program)
    session = fhec.Server(program).session(client.evaluation_keys())
    answer = client.decrypt(session.evaluate(client.encrypt(images[:3])), raw=True)
    assert answer.logits.shape == (3, 10)
    np.testing.assert_allclose(answer.logits, program.plain(images[:3]), atol=1e-3)
    assert [one.images for one in client.encrypt_all(images[:6])] == [4, 2]
    with pytest.raises(fhec.DataError, match="encrypt_all"):
        client.encrypt(images[:5])
    with pytest.raises(fhec.DataError, match="4 images at a time"):
        client.decrypt(session.evaluate(client.encrypt(images[:1])), images=5)


def test_parties_apart_meet_in_files(program, digits, tmp_path: Path) -> None:
    images, _ = digits
    program.save(tmp_path / "net.client.fhec", part="client")
    program.save(tmp_path / "net.server.fhec", part="server")
    client = fhec.Client(tmp_path / "net.client.fhec", tmp_path / "keys")
    assert (tmp_path / "keys" / "secret.key").stat().st_mode & 0o777 == 0o600
    client.evaluation_keys().save(tmp_path / "server")
    assert sorted(path.name for path in (tmp_path / "server").iterdir()) == ["evaluation.keys"]
    client.encrypt(images[0]).save(tmp_path / "image.ct")
    # The command line evaluates what Python has encrypted.
    server = [str(COMMAND), "eval", "net.server.fhec", "--keys", "server", "image.ct", "-o", "answer.ct"]
    subprocess.run(server, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    reopened = fhec.Client.open(tmp_path / "net.client.fhec", tmp_path / "keys")
    assert reopened.key_id == client.key_id
    answer = reopened.decrypt(fhec.Ciphertexts.open(tmp_path / "answer.ct"))
    assert answer.classes == program.predict(images[0], mode="plain")
    assert (tmp_path / "keys" / "answers.count").read_text() == "1\n"
    # And the other way round.
    session = fhec.Server(tmp_path / "net.server.fhec").session(tmp_path / "server")
    assert session.evaluate(fhec.Ciphertexts.open(tmp_path / "image.ct")) == fhec.Ciphertexts.open(
        tmp_path / "answer.ct"
    )


def test_keys_are_never_overwritten(program, keys, tmp_path: Path) -> None:
    fhec.Client(program, tmp_path / "keys")
    with pytest.raises(fhec.KeysError, match="never overwritten"):
        fhec.Client(program, tmp_path / "keys")
    keys.save(tmp_path / "server")
    with pytest.raises(fhec.KeysError, match="never overwritten"):
        keys.save(tmp_path / "server")
    with pytest.raises(fhec.KeysError, match="fhec keygen"):
        fhec.Client.open(program, tmp_path / "empty")


def test_keys_and_ciphertexts_of_others_are_refused(program, client, session, digits, tmp_path: Path) -> None:
    other_program = fhec.compile(MODEL, security=192)
    stranger, foreigner = fhec.Client(program), fhec.Client(other_program)
    with pytest.raises(fhec.KeysError):
        fhec.Server(program).session(foreigner.evaluation_keys())
    with pytest.raises(fhec.CiphertextError, match="belongs to key"):
        session.evaluate(stranger.encrypt(digits[0][0]))
    with pytest.raises(fhec.CiphertextError):
        session.evaluate(foreigner.encrypt(digits[0][0]))
    answer = session.evaluate(client.encrypt(digits[0][0]))
    with pytest.raises((fhec.KeysError, fhec.AnswerRefused)):
        stranger.decrypt(answer)


def test_damaged_ciphertexts_are_refused(client, session, digits) -> None:
    encrypted = bytes(client.encrypt(digits[0][0]))
    damaged = bytearray(encrypted)
    damaged[len(damaged) // 2] ^= 1
    for data, says in [
        (encrypted[:-1], "truncated"),
        (encrypted + b"x", "trailing"),
        (bytes(damaged), "checksum"),
    ]:
        with pytest.raises(fhec.CiphertextError, match=says):
            session.evaluate(data)
    with pytest.raises(fhec.CiphertextError, match="FHEB"):
        fhec.Ciphertexts(b"something else")
    # What somebody has just encrypted is no answer.
    with pytest.raises(fhec.CiphertextError):
        client.decrypt(encrypted)


def test_what_holds_keys_is_not_pickled(program, client, session) -> None:
    for holder in (client, session, fhec.Server(program)):
        with pytest.raises(fhec.FhecError, match="not pickled"):
            pickle.dumps(holder)
    with pytest.raises(TypeError):
        pickle.dumps(client._native)
    assert client.key_id in repr(client)


def test_ciphertexts_are_values(client, digits, tmp_path: Path) -> None:
    encrypted = client.encrypt(digits[0][0])
    assert pickle.loads(pickle.dumps(encrypted)) == encrypted
    assert encrypted.save(tmp_path / "image.ct") == encrypted.nbytes == len(bytes(encrypted))
    assert fhec.Ciphertexts.open(tmp_path / "image.ct", images=1) == encrypted
    assert [path.name for path in tmp_path.iterdir()] == ["image.ct"]
    with pytest.raises(fhec.FileError, match="cannot write"):
        encrypted.save(tmp_path / "absent" / "image.ct")
    with pytest.raises(fhec.FileError, match="cannot read"):
        fhec.Ciphertexts.open(tmp_path / "absent.ct")


def test_a_secret_key_that_others_can_read_is_warned_of(program, tmp_path: Path, caplog) -> None:
    fhec.Client(program, tmp_path / "keys")
    (tmp_path / "keys" / "secret.key").chmod(0o644)
    with caplog.at_level(logging.WARNING, logger="fhec"):
        fhec.Client.open(program, tmp_path / "keys")
    assert [record.name for record in caplog.records] == ["fhec.roles.exchange"]
    assert "chmod 600" in caplog.text


def test_too_little_memory_is_said_before_work_starts(program, monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), limits[1]))
    try:
        with pytest.raises(fhec.OutOfMemory, match="check_memory=False"):
            fhec.Server(program)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
