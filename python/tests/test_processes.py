"""Threads, signals, forks, and the console command."""

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import COMMAND, MODEL, MODELS

import fhec


@pytest.fixture(scope="module")
def slow() -> tuple[fhec.Client, fhec.Session, fhec.Ciphertexts]:
    """A program whose evaluation takes some tenths of a second."""
    program = fhec.compile(MODEL, packing="channel")
    client = fhec.Client(program)
    session = fhec.Server(program).session(client.evaluation_keys())
    return client, session, client.encrypt(np.zeros((1, 28, 28), np.uint8))


def test_other_threads_run_meanwhile(slow) -> None:
    _, session, encrypted = slow
    ticks, stop = [], threading.Event()

    def tick() -> None:
        while not stop.wait(0.005):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    session.evaluate(encrypted)
    end = time.perf_counter()
    stop.set()
    ticker.join()
    during = [at for at in ticks if start < at < end]
    # With the lock held there would be none; a loaded machine wakes threads late.
    assert len(during) > (end - start) / 0.1


def test_threads_share_a_session(slow) -> None:
    client, session, encrypted = slow
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(session.evaluate, [encrypted] * 3))
    assert answers == [session.evaluate(encrypted)] * 3


def test_interrupts_end_an_evaluation(slow) -> None:
    _, session, encrypted = slow
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        session.evaluate(encrypted)
        pytest.fail("the evaluation went to its end")
    timer.join()
    # The session is as good as before.
    session.evaluate(encrypted)


def test_interrupts_end_a_simulation(program) -> None:
    images = np.zeros((20_000, 28, 28), np.uint8)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        program.simulate(images)
        pytest.fail("the simulation went to its end")
    timer.join()
    assert time.perf_counter() - start < 20


def test_interrupts_end_the_call_of_a_compile() -> None:
    whole = time.perf_counter()
    fhec.compile(MODELS / "mnist_cnn_deg4.onnx")
    whole = time.perf_counter() - whole
    timer = threading.Timer(whole / 4, os.kill, (os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        fhec.compile(MODELS / "mnist_cnn_deg4.onnx")
        pytest.fail("the compile went to its end")
    assert time.perf_counter() - start < whole
    timer.join()


def test_a_control_ends_an_evaluation(slow) -> None:
    _, session, encrypted = slow
    control = fhec.Control()
    assert not control.cancelled
    timer = threading.Timer(0.02, control.cancel)
    timer.start()
    with pytest.raises(fhec.Cancelled, match="op"):
        session.evaluate(encrypted, control=control)
    assert control.cancelled
    with pytest.raises(fhec.DeadlineExceeded):
        session.evaluate(encrypted, control=fhec.Control(timeout=0.001))
    session.evaluate(encrypted, control=fhec.Control(timeout=1000))
    with pytest.raises(fhec.OptionError, match="seconds"):
        fhec.Control(timeout=-1)


def test_progress_is_told_to_the_calling_thread(slow, capsys) -> None:
    _, session, encrypted = slow
    told = []
    session.evaluate(
        encrypted, progress=lambda done, total: told.append((done, total, threading.get_ident()))
    )
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert told[-1][0] == told[-1][1] and {thread for _, _, thread in told} == {threading.get_ident()}
    session.evaluate(encrypted, progress=True)
    assert "evaluating" in capsys.readouterr().err


def test_exceptions_of_callbacks_end_the_work(slow, program) -> None:
    _, session, encrypted = slow

    def fail(done: int, total: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        session.evaluate(encrypted, progress=fail)
    with pytest.raises(LookupError, match="enough"):
        program.simulate(np.zeros((500, 28, 28), np.uint8), progress=fail)


def forked(work: Callable[[], None], seconds: int = 60) -> int:
    """The exit code of `work` in a forked process, which is killed after so many seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_forked_process_computes_with_threads_of_its_own(program, slow) -> None:
    client, session, encrypted = slow
    expected = session.evaluate(encrypted)

    def work() -> None:
        assert session.evaluate(encrypted) == expected
        fhec.Client(program)
        assert fhec.compile(MODEL) == program

        def grandchild() -> None:
            assert session.evaluate(encrypted) == expected

        assert forked(grandchild) == 0

    assert forked(work) == 0
    assert session.evaluate(encrypted) == expected


def test_a_forked_process_can_do_everything_first() -> None:
    """Nothing of it may rest on threads that the parent has started, or would have started."""
    script = f"""
import os, signal, numpy as np, fhec
images = np.zeros((2, 28, 28), np.uint8)
program = fhec.compile({str(MODEL)!r})
data = bytes(program)

def everything(program):
    client = fhec.Client(program)
    session = fhec.Server(program).session(client.evaluation_keys())
    client.decrypt(session.evaluate(client.encrypt(images[0])))
    program.simulate(images), program.plain(images), program.plan.html(), bytes(program)

def forked(work):
    child = os.fork()
    if child == 0:
        signal.alarm(40)
        work()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

forked(lambda: everything(program))
everything(fhec.load(data))
forked(lambda: everything(fhec.load(data)))
print("all")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout == "all\n", done.stderr


def test_core_dumps_are_switched_off_for_a_process() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_CORE)

    def work() -> None:
        fhec.keep_secrets_from_core_dumps()
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)

    assert forked(work) == 0
    assert resource.getrlimit(resource.RLIMIT_CORE) == before


def test_a_child_that_hangs_is_noticed() -> None:
    assert forked(lambda: time.sleep(10), seconds=1) == -signal.SIGALRM


def test_threads_are_set(slow) -> None:
    _, session, encrypted = slow
    before, expected = fhec.num_threads(), session.evaluate(encrypted)
    try:
        fhec.set_num_threads(3)
        assert fhec.num_threads() == 3
        assert session.evaluate(encrypted) == expected
        for bad in (0, -1):
            with pytest.raises((ValueError, OverflowError)):
                fhec.set_num_threads(bad)
    finally:
        fhec.set_num_threads(before)


def test_the_package_has_the_command() -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(COMMAND), *words], capture_output=True, text=True, timeout=60, check=False)

    version = run("--version")
    assert version.returncode == 0 and fhec.__version__ in version.stdout
    assert run("no-such-command").returncode == 2
    absent = run("inspect", "absent.fhec")
    assert absent.returncode == 1 and "absent.fhec" in absent.stderr and absent.stdout == ""
    limits = run("compile", str(MODEL), "--max-latency", "0.001ms", "-o", os.devnull)
    assert limits.returncode == 3
