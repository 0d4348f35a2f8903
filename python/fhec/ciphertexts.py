"""Encrypted images and answers."""

import os
import tempfile
from typing import Any, final

from fhec.errors import CiphertextError, FileError

#: More than any bundle of ciphertexts has.
_MOST_BYTES = 8 << 30


@final
class Ciphertexts:
    """A bundle of ciphertexts of one program: an encrypted batch of images, or an answer.

    It is what `fhec encrypt` and `fhec eval` write to files, and may be sent, stored and pickled.
    What is in it is checked by whoever uses it.
    """

    __slots__ = ("_data", "images", "receipt")

    def __init__(self, data: bytes, images: int | None = None, receipt: dict[str, Any] | None = None) -> None:
        if not data.startswith(b"FHEB"):
            raise CiphertextError("these bytes are no ciphertexts of fhec: they do not start with FHEB")
        self._data = bytes(data)
        #: How many images it is of; `None` where nobody says: then as many as the program takes.
        self.images = images
        #: What a service says that it has computed this answer of (`fhec verify` checks it).
        self.receipt = receipt

    @classmethod
    def open(cls, path: str | os.PathLike[str], images: int | None = None) -> "Ciphertexts":
        """Reads a ciphertext file, of `fhec encrypt` or `save`."""
        try:
            with open(path, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise FileError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
        if len(data) > _MOST_BYTES:
            raise CiphertextError(f"{os.fspath(path)} is larger than any ciphertext file")
        return cls(data, images)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes a ciphertext file, whole or not at all, and returns its size in bytes."""
        path = os.path.abspath(path)
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as file:
                temporary = file.name
                file.write(self._data)
                file.flush()
                os.fsync(file.fileno())
            # As other files are, and not readable by the owner alone as temporary ones are.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None and os.path.exists(temporary):
                os.unlink(temporary)
            raise FileError(f"cannot write {path}: {error.strerror}") from error
        return len(self._data)

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return len(self._data)

    def __bytes__(self) -> bytes:
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ciphertexts) and self._data == other._data

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        images = "" if self.images is None else f"{self.images} images, "
        return f"Ciphertexts({images}{self.nbytes} bytes)"
