"""The server: evaluates with public keys alone."""

import os
from typing import NoReturn, final

from fhec import _native
from fhec._compile import load
from fhec._native import Control, EvaluationKeys
from fhec._progress import Progress, callback
from fhec.ciphertexts import Ciphertexts
from fhec.errors import FhecError
from fhec.program import Program


@final
class Session:
    """A program with the keys of one client. Threads may share it."""

    def __init__(self, native: _native.Session) -> None:
        self._native = native

    @property
    def key_id(self) -> str:
        """Name of the client's secret key."""
        return self._native.key_id

    def evaluate(
        self,
        image: Ciphertexts | bytes,
        *,
        progress: Progress = None,
        control: Control | None = None,
    ) -> Ciphertexts:
        """Runs the program on encrypted images and returns the encrypted answer.

        Other threads run meanwhile. Ctrl-C, an exception of `progress` and `control` end it at the
        next op; all of them cancel `control`. Raises `Cancelled` or `DeadlineExceeded` where
        `control` has ended it.
        """
        images = image.images if isinstance(image, Ciphertexts) else None
        with callback(progress, "evaluating") as tell:
            return Ciphertexts(self._native.evaluate(bytes(image), tell, control), images)

    def __reduce__(self) -> NoReturn:
        raise FhecError("a session is not pickled: make it where it is used, from files of program and keys")


@final
class Server:
    """A program made ready for any number of clients: bootstraps and weights are encoded once."""

    def __init__(
        self,
        program: Program | str | os.PathLike[str],
        *,
        min_security: int = 128,
        check_memory: bool = True,
    ) -> None:
        """`program`: one, or the path of a file, of which the server's part is enough."""
        if not isinstance(program, Program):
            program = load(program, min_security=min_security)
        self.program = program
        self._native = _native.Server(program._native, check_memory)

    def session(self, keys: EvaluationKeys | str | os.PathLike[str]) -> Session:
        """A session with the keys of one client: an object, or the folder of `evaluation.keys`."""
        if not isinstance(keys, EvaluationKeys):
            keys = EvaluationKeys.open(self.program.interface, os.fspath(keys))
        return Session(self._native.session(keys))

    @property
    def nbytes(self) -> int:
        """Bytes of encoded weights and matrices, which all sessions share."""
        return self._native.nbytes

    def __reduce__(self) -> NoReturn:
        raise FhecError("a server is not pickled: make it where it is used, from the file of the program")
