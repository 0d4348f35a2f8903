"""Encrypted answers on many machines, with Ray.

An actor holds the prepared program and the keys of some clients. One actor per machine is best: it
computes with all of its processors, and each holds its own weights and keys. Keys come from a
folder that all machines see (`NFS`, a mounted bucket), not through Ray's object store, which does
not outlive an actor's restart.
"""

import logging
import math
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fhec import _native
from fhec._compile import load
from fhec._native import EvaluationKeys
from fhec.ciphertexts import Ciphertexts
from fhec.errors import FhecError, KeysError, OptionError
from fhec.server import Server, Session

StrPath = str | os.PathLike[str]

#: Columns of a data set: whose image it is, the encrypted image, its answer, why there is none.
KEY, CIPHERTEXT, ANSWER, ERROR = "key", "ciphertext", "answer", "error"


class Evaluator:
    """A program and the keys of the clients that were asked for last.

    Args:
        program: The file of a program; the server's part is enough.
        keys: A folder with a folder per client, each with its `evaluation.keys`. A client is called
            as its folder.
        max_key_bytes: Keys that are kept in memory; those not asked for longest go first. One
            client's are always kept.
        threads: Threads to compute with; the processors that Ray has assigned, if it has.
        min_security: Least security in bits.
    """

    def __init__(
        self,
        program: StrPath,
        keys: StrPath,
        *,
        max_key_bytes: int = 8 << 30,
        threads: int | None = None,
        min_security: int = 128,
    ) -> None:
        threads = threads or _assigned_processors()
        if threads is not None:
            _native.set_num_threads(threads)
        self._server = Server(load(program, min_security=min_security))
        self._keys = Path(keys)
        self._max_key_bytes = max_key_bytes
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def keys(self, client: str) -> EvaluationKeys:
        """The keys of a client, read from its folder."""
        # A name from a row must not lead out of the folder.
        if not client or client in (".", "..") or "/" in client or "\\" in client or "\0" in client:
            raise KeysError(f"{client!r} is no name of a client")
        return EvaluationKeys.open(self._server.program.interface, self._keys / client)

    def open(self, client: str) -> Session:
        """A session of a client that is not kept here. Threads may call it."""
        return self._server.session(self.keys(client))

    def session(self, client: str) -> Session:
        """The session of a client. Its keys are read if they are not in memory."""
        if client not in self._sessions:
            # All clients' keys are as large. Room is made before they are read.
            _, size = self._server.program.interface.key_demand
            while self._sessions and (len(self._sessions) + 1) * size > self._max_key_bytes:
                self._sessions.popitem(last=False)
            self._sessions[client] = self.open(client)
        self._sessions.move_to_end(client)
        return self._sessions[client]

    def evaluate(self, client: str, image: bytes) -> bytes:
        """The encrypted answer for an encrypted image of a client."""
        return bytes(self.session(client).evaluate(Ciphertexts(image)))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with two columns more: `answer`, and `error`, which is empty where there is an
        answer. A row that cannot be answered says why and stops no other.
        """
        answers, errors = [], []
        for client, image in zip(batch[KEY], batch[CIPHERTEXT], strict=True):
            try:
                answers.append(self.evaluate(str(client), bytes(image)))
                errors.append("")
            except FhecError as error:
                answers.append(b"")
                errors.append(f"{type(error).__name__}: {error}")
        return batch | {ANSWER: np.array(answers, dtype=object), ERROR: np.array(errors, dtype=object)}


def map_batches(
    dataset: Any,
    program: StrPath,
    keys: StrPath,
    *,
    actors: int | tuple[int, int] = 1,
    processors: float = 1,
    batch_size: int = 8,
    sort: bool = True,
    resources: Mapping[str, float] | None = None,
    evaluator: type[Evaluator] = Evaluator,
    **arguments: Any,
) -> Any:
    """A data set of Ray with encrypted answers.

    Rows have `key`, the name of a client, and `ciphertext`, the bytes of an encrypted image. They
    keep their columns and get `answer` and `error`. Actors that die are started again, and their
    batches with them: every row comes out once.

    Args:
        dataset: A `ray.data.Dataset`.
        program, keys: As for `Evaluator`; both are paths that all machines see.
        actors: How many, or the least and the most. One per machine is best.
        processors: Of each; all that a machine has is best, but one in the cluster, which reads and
            sorts.
        batch_size: Rows that an actor gets at a time, and that are tried again where it dies.
        sort: Bring the rows of a client together, so that an actor reads keys once.
        resources: Custom resources of Ray that each actor takes of its machine. Where machines that
            evaluate have one of some name, each gets one actor, and others get none.
        evaluator: A class to take in place of `Evaluator`.
        arguments: More for the evaluator, such as `max_key_bytes`.
    """
    import ray.data

    if batch_size < 1:
        raise OptionError(f"batch_size={batch_size}: a batch has one row or more")
    if sort:
        dataset = dataset.sort(KEY)
    # An actor gets a block at a time, however many batches are in it, and after a sort a client's
    # rows are one block: without this, no more actors had work than there are clients.
    dataset = dataset.repartition(target_num_rows_per_block=batch_size)
    least, most = actors if isinstance(actors, tuple) else (actors, actors)
    there = ray.cluster_resources().get("CPU", 0) if ray.is_initialized() else 0
    if 0 < there < least * processors + 1:
        logging.getLogger("fhec.ray").warning(
            "%s actors of %s processors leave none of %s for reading and sorting: unless the cluster grows, "
            "this waits for ever",
            least,
            processors,
            there,
        )
    # Actors are restarted, and their tasks tried again, without limit: Ray's default for pools.
    return dataset.map_batches(
        evaluator,
        fn_constructor_args=(os.fspath(program), os.fspath(keys)),
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=processors,
        resources=dict(resources or {}),
        batch_size=batch_size,
    )


def deployment(
    program: StrPath,
    keys: StrPath,
    *,
    clients: int = 4,
    replicas: int = 1,
    processors: float = 1,
    **arguments: Any,
) -> Any:
    """An application of Ray Serve: `serve.run(fhec.ray.deployment("net.fhec", "keys"))`.

    A request is a POST whose body is an encrypted image, and whose header
    `serve_multiplexed_model_id` names the client. Requests of a client go to a replica that has its
    keys. The answer is the encrypted answer; 400 with one line of text where the image is refused,
    404 where there are no keys.

    Args:
        program, keys: As for `Evaluator`.
        clients: Clients whose keys a replica keeps.
        replicas, processors: How many, and the processors of each.
    """
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response

    @serve.deployment(num_replicas=replicas, ray_actor_options={"num_cpus": processors})
    class Replica:
        def __init__(self) -> None:
            self._evaluator = Evaluator(program, keys, **arguments)

        @serve.multiplexed(max_num_models_per_replica=clients)
        async def session(self, client: str) -> Session:
            import asyncio

            # Serve keeps it, and says whose keys go.
            return await asyncio.to_thread(self._evaluator.open, client)

        async def __call__(self, request: Request) -> Response:
            import asyncio

            client = serve.get_multiplexed_model_id()
            body = await request.body()
            try:
                session = await self.session(client)
            except FhecError as error:
                # Where keys are is nobody's business.
                logging.getLogger("fhec.ray").warning("client %r: %s", client, error)
                return PlainTextResponse("there are no keys of this client\n", status_code=404)
            try:
                answer = await asyncio.to_thread(lambda: session.evaluate(Ciphertexts(body)))
            except FhecError as error:
                return PlainTextResponse(f"{error}\n", status_code=400)
            return Response(bytes(answer), media_type="application/octet-stream")

    decorated: Any = Replica
    return decorated.bind()


def _assigned_processors() -> int | None:
    """Processors that Ray has given to this actor; `None` where there is none."""
    try:
        import ray
    except ImportError:
        return None
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    processors = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
    # A share of one is one thread; none assigned is no limit.
    return math.ceil(processors) or None
