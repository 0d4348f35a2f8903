"""Run ordinary, pretrained neural networks on encrypted images.

    import fhec

    program = fhec.compile("net.onnx", calibration=images, mean=0.13, std=0.31)
    program.simulate(x_test, y_test)         # what the encrypted program will answer
    program.run(x_test[:1])                  # keys, encryption, evaluation, decryption

Client and server apart: `Client` makes keys, encrypts and decrypts; `Server` evaluates with public
keys alone. `RemoteServer` is a service elsewhere. Errors are below `FhecError`. What is logged goes
to the logger `fhec`.
"""

from fhec import errors
from fhec._compile import compile, load
from fhec._native import (
    Control,
    EvaluationKeys,
    Interface,
    __version__,
    keep_secrets_from_core_dumps,
    num_threads,
    set_num_threads,
)
from fhec.ciphertexts import Ciphertexts
from fhec.client import Answer, Client
from fhec.errors import (
    AnswerRefused,
    Cancelled,
    CiphertextError,
    CompileError,
    DataError,
    DeadlineExceeded,
    EvaluationError,
    FhecError,
    FileError,
    KeysError,
    LimitError,
    ModelError,
    OptionError,
    OutOfMemory,
    ProgramError,
    RemoteError,
    SecurityError,
)
from fhec.plan import Plan
from fhec.program import Program
from fhec.remote import RemoteServer, RemoteSession
from fhec.server import Server, Session
from fhec.simulation import Simulation

__all__ = [
    "Answer",
    "AnswerRefused",
    "Cancelled",
    "CiphertextError",
    "Ciphertexts",
    "Client",
    "CompileError",
    "Control",
    "DataError",
    "DeadlineExceeded",
    "EvaluationError",
    "EvaluationKeys",
    "FhecError",
    "FileError",
    "Interface",
    "KeysError",
    "LimitError",
    "ModelError",
    "OptionError",
    "OutOfMemory",
    "Plan",
    "Program",
    "ProgramError",
    "RemoteError",
    "RemoteServer",
    "RemoteSession",
    "SecurityError",
    "Server",
    "Session",
    "Simulation",
    "__version__",
    "compile",
    "errors",
    "keep_secrets_from_core_dumps",
    "load",
    "num_threads",
    "set_num_threads",
]
