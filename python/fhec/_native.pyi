"""The native half of fhec: what its Python classes stand on."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray

_Path = str | os.PathLike[str]
_Images = NDArray[np.uint8] | NDArray[np.float32] | str
_Progress = Callable[[int, int], object] | None
_Numbers = NDArray[np.float64]

__version__: Final[str]
__all__ = [
    "Client",
    "Control",
    "EvaluationKeys",
    "Interface",
    "Program",
    "Remote",
    "RemoteSession",
    "Server",
    "Session",
    "__version__",
    "command_line",
    "compile",
    "keep_secrets_from_core_dumps",
    "num_threads",
    "option_defaults",
    "set_num_threads",
    "wilson",
]

def option_defaults() -> str: ...
def compile(
    model: bytes | _Path,
    name: str,
    options: str,
    normalisation: str,
    calibration: _Images | None,
    ranges: _Path | None,
    costs: str | None,
    import_: tuple[Mapping[str, Sequence[int]], Sequence[str], bool],
    limits: tuple[float | None, int | None, float | None],
) -> Program: ...
def command_line(arguments: Sequence[str]) -> int: ...
def keep_secrets_from_core_dumps() -> None:
    """Switches core dumps of this process off, and keeps debuggers of the same user out: memory
    holds secret keys.
    """

def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def wilson(part: int, count: int) -> tuple[float, float]: ...

@final
class Control:
    """Ends evaluations: from another thread, or after a time.

    One control may be given to several evaluations, and ends all of them.
    """

    def __new__(cls, timeout: float | None = None) -> Control:
        """`timeout`: seconds from now."""

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""

    def cancel(self) -> None:
        """Ends them at the next op."""

@final
class EvaluationKeys:
    """The keys that a server needs, of one client. They are public."""

    @staticmethod
    def open(interface: Interface, folder: _Path) -> EvaluationKeys:
        """Reads `evaluation.keys` of a folder and makes what it has of seeds."""

    def save(self, folder: _Path) -> int:
        """Writes `evaluation.keys` into a folder for the server; returns its size in bytes."""

    @property
    def key_id(self) -> str:
        """Name of the secret key that they belong to."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""

    def __len__(self) -> int: ...

@final
class Interface:
    """What a client needs of a program: no weights, no layers."""

    @staticmethod
    def open(path: _Path, min_security: int = 128) -> Interface:
        """Reads the interface of a program file, a client's or any other."""

    @staticmethod
    def from_bytes(data: bytes, min_security: int = 128) -> Interface:
        """The same from bytes."""

    def to_bytes(self) -> bytes:
        """The bytes of a client's file."""

    def save(self, path: _Path) -> int:
        """Writes a client's file and returns its size in bytes."""

    @property
    def name(self) -> str:
        """Name of the network."""

    @property
    def digest(self) -> str:
        """Names the program by its content."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    @property
    def input_shape(self) -> list[int]:
        """Shape of the network's input, its batch of 1 included."""

    @property
    def channels_last(self) -> bool:
        """Whether the network's input has its channels last."""

    @property
    def outputs(self) -> list[tuple[str, list[int], bool, str, tuple[float, float]]]:
        """Per output its name, the shape for one image, whether it is a list of classes, and what
        the client does at the end: `nothing`, `softmax` or `log_softmax`, then the scale that it
        multiplies each number with and the offset that it adds.
        """

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if they have none."""

    @property
    def batch(self) -> int:
        """Images of one run."""

    @property
    def security_bits(self) -> int:
        """Bits of security, computed from the parameters."""

    @property
    def key_demand(self) -> tuple[int, int]:
        """Evaluation keys that the program needs: how many, and bytes in memory."""

    @property
    def normalisation(self) -> tuple[float, list[float], list[float]]:
        """What pixels are divided by, the means and the deviations."""

    @property
    def certain_step(self) -> float:
        """What decrypted numbers are multiples of."""

@final
class Program:
    @staticmethod
    def open(path: _Path, min_security: int = 128) -> Program: ...
    @staticmethod
    def from_bytes(data: bytes, min_security: int = 128) -> Program: ...
    def to_bytes(self, part: Literal["all", "server"] = "all") -> bytes: ...
    def save(self, path: _Path, part: Literal["all", "server"] = "all") -> int: ...
    @property
    def interface(self) -> Interface: ...
    @property
    def ops(self) -> int: ...
    @property
    def has_reference(self) -> bool: ...
    def plan_json(self) -> str: ...
    def plan_text(self) -> str: ...
    def plan_summary_html(self) -> str: ...
    def plan_html(self) -> str: ...
    def plain(self, images: _Images) -> _Numbers: ...
    def simulate(
        self,
        images: _Images,
        noise: bool = True,
        seed: int = 1,
        progress: _Progress = None,
    ) -> tuple[_Numbers, _Numbers, str]: ...

@final
class Client:
    @staticmethod
    def generate(interface: Interface, folder: _Path | None, check_memory: bool) -> Client: ...
    @staticmethod
    def open(interface: Interface, folder: _Path) -> Client: ...
    @property
    def key_id(self) -> str: ...
    @property
    def folder(self) -> _Path | None: ...
    def evaluation_keys(self, check_memory: bool) -> EvaluationKeys: ...
    def encrypt(self, images: _Images, all: bool) -> list[tuple[bytes, int]]: ...
    def decrypt(self, answer: bytes, images: int, raw: bool) -> list[_Numbers]: ...

@final
class Server:
    def __new__(cls, program: Program, check_memory: bool) -> Server: ...
    def session(self, keys: EvaluationKeys) -> Session: ...
    @property
    def nbytes(self) -> int: ...

@final
class Session:
    def evaluate(self, image: bytes, progress: _Progress, control: Control | None) -> bytes: ...
    @property
    def key_id(self) -> str: ...

@final
class Remote:
    def __new__(
        cls,
        url: str,
        token: str | None,
        authority: _Path | None,
        identity: tuple[_Path, _Path] | None,
        home: _Path | None,
        insecure: bool,
        patience: float,
        min_security: int,
    ) -> Remote: ...
    def models(self) -> str: ...
    def interface(self, model: str) -> Interface: ...
    def key_folder(self, interface: Interface) -> tuple[_Path, bool]: ...
    def session(
        self,
        model: str,
        interface: Interface,
        folder: _Path,
        progress: _Progress,
        control: Control | None,
    ) -> RemoteSession: ...
    def keys(self) -> str: ...
    def delete_keys(self, keys: str) -> None: ...
    def jobs(self) -> str: ...
    def delete_job(self, job: str) -> None: ...
    @property
    def traffic(self) -> tuple[int, int]: ...

@final
class RemoteSession:
    def evaluate(
        self,
        image: bytes,
        deadline: int | None,
        progress: _Progress,
        control: Control | None,
    ) -> tuple[bytes, str]: ...
    @property
    def keys(self) -> str: ...
