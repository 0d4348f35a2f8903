"""A service (`fhec serve`) as its client sees it: the model stays there, the secret key here."""

import json
import math
import os
from typing import Any, NoReturn, final

import numpy as np

from fhec import _native
from fhec._arrays import Images
from fhec._native import Control, Interface
from fhec._progress import Progress, callback
from fhec.ciphertexts import Ciphertexts
from fhec.client import Answer, Client
from fhec.errors import FhecError, OptionError

StrPath = str | os.PathLike[str]


@final
class RemoteSession:
    """A client's keys at a service, for one model: what `Session` is on this machine. Threads may
    share it.
    """

    def __init__(self, native: _native.RemoteSession) -> None:
        self._native = native

    @property
    def keys(self) -> str:
        """Name of the keys at the service."""
        return self._native.keys

    def evaluate(
        self,
        image: Ciphertexts | bytes,
        *,
        deadline: float | None = None,
        progress: Progress = None,
        control: Control | None = None,
    ) -> Ciphertexts:
        """Sends encrypted images and returns the encrypted answer, whose `receipt` says what the
        service has computed it of.

        `deadline`: seconds after which the service shall give up. Ctrl-C, an exception of `progress`
        and `control` end the call at once, and cancel the job. Raises `Cancelled`,
        `DeadlineExceeded`, or `RemoteError` with what the service says.
        """
        images = image.images if isinstance(image, Ciphertexts) else None
        with callback(progress, "evaluating") as tell:
            answer, receipt = self._native.evaluate(bytes(image), _seconds(deadline), tell, control)
        return Ciphertexts(answer, images, json.loads(receipt))

    def __reduce__(self) -> NoReturn:
        raise FhecError("a session is not pickled: open it where it is used")


@final
class RemoteServer:
    """A service over the network.

        service = fhec.RemoteServer("https://fhec.example.com", token=os.environ["FHEC_TOKEN"])
        service.classify("resnet20", "cat.png").class_names

    What belongs to a service is kept in the user's folder for configurations, where `fhec remote`
    finds it, too: interfaces of models, and keys, of which the secret one never leaves this machine.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        authority: StrPath | None = None,
        identity: tuple[StrPath, StrPath] | None = None,
        home: StrPath | None = None,
        insecure: bool = False,
        patience: float = 300.0,
        min_security: int = 128,
    ) -> None:
        """Nothing is asked of the service yet.

        Args:
            url: `https://HOST[:PORT]`, or `http://` on this machine.
            token: What `fhec serve token` has printed; else that of the environment, `FHEC_TOKEN`.
            authority: Certificates of the authority that the service's is from (PEM); else Mozilla's.
            identity: The client's own certificate and its private key (PEM).
            home: Folder for interfaces and keys.
            insecure: Send a token over plain HTTP to another machine all the same.
            patience: Seconds that an absent or busy service is waited for.
            min_security: Least security in bits.
        """
        self.url = url
        self._native = _native.Remote(
            url,
            token or os.environ.get("FHEC_TOKEN") or None,
            _path(authority),
            None if identity is None else (os.fspath(identity[0]), os.fspath(identity[1])),
            _path(home),
            insecure,
            patience,
            min_security,
        )

    def models(self) -> list[dict[str, Any]]:
        """The models of the service: `name`, `security_bits`, `predicted_seconds`, sizes, whether
        your `keys` are there, `queued`.
        """
        return list(json.loads(self._native.models()))

    def interface(self, model: str) -> Interface:
        """What a client needs of a model; fetched where it is not here."""
        return self._native.interface(model)

    def client(self, model: str, *, check_memory: bool = True) -> Client:
        """The client of a model. Makes keys where there are none for its program."""
        interface = self.interface(model)
        folder, there = self._native.key_folder(interface)
        if there:
            return Client.open(interface, folder)
        return Client(interface, folder, check_memory=check_memory)

    def session(
        self,
        model: str,
        client: Client | None = None,
        *,
        progress: Progress = None,
        control: Control | None = None,
    ) -> RemoteSession:
        """A session for a model, with the keys of `client`, which has them in a folder. They are
        uploaded where the service lacks them; a broken connection costs one chunk.

        `progress` is told the bytes that are there. Ctrl-C, its exceptions and `control` end the
        upload; the next call goes on with it.
        """
        client = client or self.client(model)
        folder = client.folder
        if folder is None:
            raise OptionError("the client has its keys in memory alone: make it with a folder")
        with callback(progress, "uploading keys") as tell:
            return RemoteSession(self._native.session(model, client.interface, folder, tell, control))

    def classify(
        self,
        model: str,
        images: Images,
        *,
        deadline: float | None = None,
        progress: Progress = None,
        control: Control | None = None,
        raw: bool = False,
    ) -> Answer:
        """Answers for images, of any number. Does what is missing: fetches the model's interface,
        makes keys, uploads them. Then encrypts, sends, waits and decrypts.
        """
        client = self.client(model)
        # Before minutes are spent on an upload: the images may be none of this model.
        bundles = client.encrypt_all(images)
        session = self.session(model, client, progress=progress, control=control)
        encrypted = [
            session.evaluate(bundle, deadline=deadline, progress=progress, control=control)
            for bundle in bundles
        ]
        # After the last one is sent: the service must not see that one was refused.
        answers = [client.decrypt(answer, raw=raw) for answer in encrypted]
        names = answers[0].outputs
        outputs = {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in names}
        return Answer(outputs, client.interface)

    def keys(self) -> list[dict[str, Any]]:
        """The keys that the service has of you."""
        return list(json.loads(self._native.keys()))

    def delete_keys(self, keys: str) -> None:
        """Deletes keys at the service; the secret key stays where it is."""
        self._native.delete_keys(keys)

    def jobs(self) -> list[dict[str, Any]]:
        """Your jobs at the service."""
        return list(json.loads(self._native.jobs()))

    def delete_job(self, job: str) -> None:
        """Cancels a job that is not finished, deletes one that is."""
        self._native.delete_job(job)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of bodies that have gone to the service, and come from it."""
        return self._native.traffic

    def __reduce__(self) -> NoReturn:
        raise FhecError("a connection is not pickled: it may hold a token. Make it where it is used")

    def __repr__(self) -> str:
        return f"RemoteServer({self.url!r})"


def _path(path: StrPath | None) -> str | None:
    return None if path is None else os.fspath(path)


def _seconds(deadline: float | None) -> int | None:
    """Whole seconds, as the service counts them."""
    if deadline is None:
        return None
    if not (math.isfinite(deadline) and deadline > 0):
        raise OptionError(f"deadline={deadline}: say how many seconds, more than 0")
    return max(1, math.ceil(deadline))
