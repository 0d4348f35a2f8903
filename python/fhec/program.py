"""A compiled program."""

import copyreg
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from fhec import _native
from fhec._arrays import Images, as_classes, as_images
from fhec._native import Interface
from fhec._progress import Progress, callback
from fhec.errors import OptionError
from fhec.plan import Plan
from fhec.simulation import Simulation

if TYPE_CHECKING:
    from fhec.client import Client
    from fhec.server import Session

#: How images are answered: by the plain network, by the compiled program with the noise that
#: encryption adds, or under encryption.
Mode: TypeAlias = Literal["plain", "simulate", "encrypted"]

Path: TypeAlias = str | os.PathLike[str]


@final
class Program:
    """A compiled network, of `fhec.compile` or `fhec.load`. It can be pickled.

    `images` are arrays, batch first: `uint8` pixels, which are normalised, or floats, which are
    network input as they are. `[n, c, h, w]`, `[n, h, w, c]`, or one image. A path names a picture,
    a NumPy file or a data set.
    """

    def __init__(self, native: _native.Program) -> None:
        self._native = native
        self._local: tuple[Client, Session] | None = None

    @property
    def interface(self) -> Interface:
        """What a client needs of it."""
        return self._native.interface

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.interface.name

    @property
    def digest(self) -> str:
        """Names the program by its content, in hexadecimal."""
        return self.interface.digest

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.interface.image_shape

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if they have none."""
        return self.interface.classes

    @property
    def batch(self) -> int:
        """Images of one run."""
        return self.interface.batch

    @cached_property
    def plan(self) -> Plan:
        """What was decided and predicted."""
        return Plan(self._native)

    def save(self, path: Path, *, part: Literal["all", "client", "server"] = "all") -> int:
        """Writes a program file and returns its size in bytes.

        `part`: all of it; what a client needs, some kilobytes without weights; or what a server
        needs.
        """
        if part == "client":
            return self.interface.save(os.fspath(path))
        return self._native.save(os.fspath(path), part)

    def __bytes__(self) -> bytes:
        return self._native.to_bytes()

    def plain(self, images: Images) -> NDArray[np.float64]:
        """Numbers of the plain network's first output, `[n, numbers]`."""
        return self._native.plain(as_images(images))

    def simulate(
        self,
        images: Images,
        labels: Any = None,
        *,
        noise: bool = True,
        seed: int = 1,
        progress: Progress = None,
    ) -> Simulation:
        """What the encrypted program will answer: the program itself on numbers with the errors that
        encryption adds. It needs no keys. `labels` are the true classes `[n]`.
        """
        with callback(progress, "simulating") as tell:
            logits, reference, summary = self._native.simulate(as_images(images), noise, seed, tell)
        classes = None if labels is None else as_classes(labels, len(logits))
        return Simulation(logits, reference, classes, summary)

    def run(
        self,
        images: Images,
        *,
        client: "Client | None" = None,
        progress: Progress = None,
    ) -> NDArray[np.float64]:
        """Encrypts, evaluates and decrypts on this machine; numbers of the first output with all
        their digits, `[n, numbers]`. For trying out.

        Without a `client` one is made, in memory. Its keys and the encoded weights are kept with
        this object for the next run; `forget_keys` frees them.
        """
        from fhec.client import Client
        from fhec.server import Server

        kept = self._local
        if kept is None or (client is not None and kept[0] is not client):
            client = client or Client(self)
            kept = (client, Server(self).session(client.evaluation_keys()))
            self._local = kept
        client, session = kept
        answers = [session.evaluate(one, progress=progress) for one in client.encrypt_all(images)]
        return np.concatenate([client.decrypt(answer, raw=True).logits for answer in answers])

    def forget_keys(self) -> None:
        """Frees the keys and encoded weights that `run` keeps."""
        self._local = None

    def __call__(self, images: Images, mode: Mode = "simulate") -> NDArray[np.float64]:
        """Numbers of the first output, `[n, numbers]`."""
        if mode == "plain":
            return self.plain(images)
        if mode == "simulate":
            return self.simulate(images).logits
        if mode == "encrypted":
            return self.run(images)
        raise OptionError(f"mode={mode!r}: modes are 'plain', 'simulate' and 'encrypted'")

    def predict(self, images: Images, mode: Mode = "simulate") -> NDArray[np.int64]:
        """Classes `[n]`."""
        return np.asarray(self(images, mode).argmax(axis=1), dtype=np.int64)

    def predict_proba(self, images: Images, mode: Mode = "simulate") -> NDArray[np.float64]:
        """Probabilities of the classes, `[n, classes]`: a softmax of the numbers, where the network
        does not end with one itself.
        """
        return probabilities(self(images, mode), self.interface)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (bytes(self), min(self.interface.security_bits, 128))

    def __repr__(self) -> str:
        shape, bits = list(self.image_shape), self.plan.security_bits
        return f"Program({self.name!r}, images {shape}, {bits} bits of security)"

    def _repr_html_(self) -> str:
        return self.plan._repr_html_()


def probabilities(numbers: NDArray[np.float64], interface: Interface) -> NDArray[np.float64]:
    """Numbers of the first output as probabilities of classes."""
    _, shape, classes, ending, (scale, offset) = interface.outputs[0]
    if not classes:
        raise OptionError(
            f"the first output, of shape {shape}, is no list of classes: it has no probabilities"
        )
    numbers = (numbers - offset) / scale
    if ending == "softmax":
        return numbers
    # Of logarithms of probabilities a softmax is the probabilities.
    exponentials = np.exp(numbers - numbers.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def _reduced(interface: Interface) -> tuple[Any, ...]:
    return _interface_unpickled, (interface.to_bytes(), min(interface.security_bits, 128))


def _interface_unpickled(data: bytes, min_security: int) -> Interface:
    return Interface.from_bytes(data, min_security)


copyreg.pickle(Interface, _reduced)


def _unpickled(data: bytes, min_security: int) -> Program:
    return Program(_native.Program.from_bytes(data, min_security))
