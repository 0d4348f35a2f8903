"""The holder of a secret key."""

import os
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from fhec import _native
from fhec._arrays import Images, as_images
from fhec._native import EvaluationKeys, Interface
from fhec.ciphertexts import Ciphertexts
from fhec.errors import FhecError
from fhec.program import Program, probabilities

#: A program, what a client needs of it, or the path of a file with either.
Of: TypeAlias = Program | Interface | str | os.PathLike[str]


@final
@dataclass(frozen=True, eq=False)
class Answer:
    """A decrypted answer."""

    #: Per output of the network its name and numbers, `[n, numbers]`.
    outputs: dict[str, NDArray[np.float64]]
    interface: Interface

    @property
    def logits(self) -> NDArray[np.float64]:
        """Numbers of the first output, `[n, numbers]`."""
        return next(iter(self.outputs.values()))

    @property
    def classes(self) -> NDArray[np.int64]:
        """Classes `[n]`."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    @property
    def tied_classes(self) -> list[list[int]]:
        """Per image, the other classes that have the same number as the class: which of them is the
        plain network's cannot be told from the digits that are certain.
        """
        best = self.logits.max(axis=1, keepdims=True)
        equal = self.logits == best
        equal[np.arange(len(equal)), self.classes] = False
        return [[int(index) for index in np.flatnonzero(row)] for row in equal]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, or their numbers."""
        names = self.interface.classes
        return [names[index] if index < len(names) else str(index) for index in self.classes]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities of the classes, `[n, classes]`."""
        return probabilities(self.logits, self.interface)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.logits, dtype=dtype) if copy else np.asarray(self.logits, dtype=dtype)


@final
class Client:
    """Makes keys, encrypts images and decrypts answers of one program.

    The secret key never becomes an object of Python. It is in memory, or in the file `secret.key`
    of a folder, which its owner alone can read. A client cannot be pickled.
    """

    def __init__(
        self,
        program: Of,
        folder: str | os.PathLike[str] | None = None,
        *,
        min_security: int = 128,
        check_memory: bool = True,
    ) -> None:
        """New keys: in `folder`, as `fhec keygen` makes them, or in memory alone."""
        self._interface = _interface(program, min_security)
        path = None if folder is None else os.fspath(folder)
        self._native = _native.Client.generate(self._interface, path, check_memory)

    @classmethod
    def open(cls, program: Of, folder: str | os.PathLike[str], *, min_security: int = 128) -> "Client":
        """The client whose keys are in `folder`."""
        client = cls.__new__(cls)
        client._interface = _interface(program, min_security)
        client._native = _native.Client.open(client._interface, os.fspath(folder))
        return client

    @property
    def interface(self) -> Interface:
        """What the client knows of the program."""
        return self._interface

    @property
    def key_id(self) -> str:
        """Name of the secret key."""
        return self._native.key_id

    @property
    def folder(self) -> str | None:
        """The folder of the keys, if they are in files."""
        folder = self._native.folder
        return None if folder is None else os.fspath(folder)

    def evaluation_keys(self, *, check_memory: bool = True) -> EvaluationKeys:
        """The keys that the server needs: read from the folder, or made. They are public."""
        return self._native.evaluation_keys(check_memory)

    def encrypt(self, images: Images) -> Ciphertexts:
        """Encrypts up to as many images as the program takes at a time (`batch`)."""
        ((data, count),) = self._native.encrypt(as_images(images), False)
        return Ciphertexts(data, count)

    def encrypt_all(self, images: Images) -> list[Ciphertexts]:
        """Encrypts any number of images, in bundles of as many as the program takes."""
        return [Ciphertexts(data, count) for data, count in self._native.encrypt(as_images(images), True)]

    def decrypt(self, answer: Ciphertexts | bytes, *, images: int | None = None, raw: bool = False) -> Answer:
        """Decrypts an answer, of as many `images` as were encrypted.

        Numbers are rounded to the digits that are certain. `raw` gives all digits, which tell about
        the secret key: show them to nobody but its owner. Raises `AnswerRefused` where the
        evaluation has gone wrong.
        """
        if images is None and isinstance(answer, Ciphertexts):
            images = answer.images
        count = self._interface.batch if images is None else images
        outputs = self._native.decrypt(bytes(answer), count, raw)
        names = [name or f"output{index}" for index, (name, *_) in enumerate(self._interface.outputs)]
        return Answer(dict(zip(names, outputs, strict=True)), self._interface)

    def __reduce__(self) -> NoReturn:
        raise FhecError(
            "a client is not pickled: it holds a secret key. Make it with a folder, and open it there "
            "(fhec.Client.open) in the other process"
        )

    def __repr__(self) -> str:
        return f"Client({self._interface.name!r}, key {self.key_id})"


def _interface(program: Of, min_security: int) -> Interface:
    if isinstance(program, Program):
        return program.interface
    if isinstance(program, Interface):
        return program
    return Interface.open(os.fspath(program), min_security)
