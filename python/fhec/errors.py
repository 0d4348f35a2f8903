"""Exceptions of fhec. Each says what to do."""


class FhecError(Exception):
    """The base of all exceptions of fhec."""


class OptionError(FhecError, ValueError):
    """An argument that is none, or two that contradict each other."""


class CompileError(FhecError):
    """A network that cannot be compiled with these options."""


class ModelError(CompileError):
    """A model that cannot be read, has an unknown operator, or takes no single image."""


class LimitError(CompileError):
    """No plan keeps the limits. The message names the nearest one."""


class DataError(FhecError, ValueError):
    """Images of another shape or type than the program takes, or a number that is none."""


class FileError(FhecError, OSError):
    """A file that cannot be read or written."""


class ProgramError(FhecError):
    """Bytes that are no program: damaged, of another version, or inconsistent."""


class SecurityError(ProgramError):
    """A program that keeps fewer bits of security than were asked for."""


class KeysError(FhecError):
    """Keys that are missing, not whole, or of another program or client."""


class CiphertextError(FhecError):
    """Ciphertexts that are damaged, or not those that the program has at this place."""


class EvaluationError(FhecError):
    """An evaluation that failed."""


class Cancelled(EvaluationError):
    """An evaluation that was ended by its `Control`."""


class DeadlineExceeded(EvaluationError, TimeoutError):
    """An evaluation that took longer than its `Control` allows."""


class OutOfMemory(FhecError, MemoryError):
    """Too little memory, said before work starts."""


class AnswerRefused(FhecError):
    """An answer that decrypts to noise. Do not tell the server."""


class RemoteError(FhecError):
    """A service that cannot be reached, or that refuses."""

    #: Why it refuses, as `docs/serving.md` lists it, such as `too_many_jobs`; `None` where it did not.
    code: str | None = None
    #: Seconds after which it is worth another try, if the service says so.
    retry_after: int | None = None
