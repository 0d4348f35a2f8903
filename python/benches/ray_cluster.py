"""Encrypted images on a cluster of Ray, all of its nodes on this machine, beside one process.

    python python/benches/ray_cluster.py MODEL.onnx [--images FILE] [--count N] [--nodes N]

Two clients encrypt images. One process answers them, with all processors. Then a node per actor
answers them, each with `--threads` processors; the head of the cluster has none of the actors. Then
once more, and a worker is killed while it computes. The last lines are a table; the exit code is 1
if a row is lost, comes twice, or has another class than the plain network's.

FILE is an IDX file (of MNIST, packed or not), a binary batch of CIFAR-10, or a NumPy array of
pixels. Without one, pictures that come with the repository are taken, again and again.
"""

import argparse
import gzip
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import fhec
import fhec.ray

MODELS = Path(__file__).resolve().parents[2] / "models"
CLIENTS = ["ann", "bob"]
#: What a node of the cluster has one of, and its head none.
PLACE = "evaluations"
MIB = 1 << 20


def pictures(path: Path | None, shape: tuple[int, int, int], count: int) -> np.ndarray:
    """`count` pictures `[n, c, h, w]` of bytes."""
    if path is None:
        from PIL import Image

        files = sorted((MODELS / ("digits" if shape[0] == 1 else "scenes")).glob("*.png"))
        all_ = np.stack([np.asarray(Image.open(file)) for file in files])
        all_ = all_[:, None] if all_.ndim == 3 else all_.transpose(0, 3, 1, 2)
        return np.resize(all_, (count, *all_.shape[1:]))
    if path.suffix == ".npy":
        return np.load(path)[:count]
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    size = int(np.prod(shape))
    if data[:4] == b"\x00\x00\x08\x03":
        return np.frombuffer(data, np.uint8, offset=16)[: count * size].reshape(-1, *shape)
    # CIFAR-10: a byte for the class before each picture.
    return np.frombuffer(data, np.uint8).reshape(-1, 1 + size)[:count, 1:].reshape(-1, *shape)


def memory(process: int | str = "self") -> dict[str, int]:
    """Bytes of a process: `rss`, all that is resident; `pss`, the same with what is shared divided
    among those who share it; `own`, what is its alone.
    """
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"rss": kib["Rss"] << 10, "pss": kib["Pss"] << 10, "own": own << 10}


def highest() -> int:
    """Most bytes that were ever resident in this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


class Noting(fhec.ray.Evaluator):
    """An evaluator that writes down what it does, a file per process."""

    def __init__(self, *arguments: Any, notes: str, **keywords: Any) -> None:
        begin = time.time()
        self._file = Path(notes) / f"{os.getpid()}.jsonl"
        super().__init__(*arguments, **keywords)
        self._note("ready", seconds=time.time() - begin)

    def _note(self, what: str, **more: Any) -> None:
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        note = {"what": what, "at": time.time(), "process": os.getpid(), "node": node} | more
        with self._file.open("a") as file:
            file.write(json.dumps(note) + "\n")

    def open(self, client: str) -> fhec.Session:
        begin = time.time()
        session = super().open(client)
        self._note("keys", client=client, seconds=time.time() - begin)
        return session

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._note("begin", rows=[int(row) for row in batch["id"]])
        answered = super().__call__(batch)
        self._note("end", rows=[int(row) for row in batch["id"]], memory=memory(), highest=highest())
        return answered


def read(notes: Path) -> list[dict[str, Any]]:
    """What evaluators wrote down, in order of time. Half a line is of one who is writing."""
    lines = [line for file in notes.glob("*.jsonl") for line in file.read_text().splitlines(keepends=True)]
    return sorted((json.loads(line) for line in lines if line.endswith("\n")), key=lambda note: note["at"])


class Checked:
    """Rows, and whether their answers are right."""

    def __init__(self, rows: list[dict[str, Any]], clients: dict[str, fhec.Client], classes: np.ndarray):
        self.rows, self._clients, self._classes = rows, clients, classes

    def wrong(self, answers: list[dict[str, Any]]) -> list[str]:
        """What is wrong with the answers."""
        times = Counter(int(row["id"]) for row in answers)
        faults = [f"row {row['id']}: {times[row['id']]} times" for row in self.rows if times[row["id"]] != 1]
        for row in answers:
            if row["error"]:
                faults.append(f"row {row['id']}: {row['error']}")
                continue
            found = self._clients[row["key"]].decrypt(bytes(row["answer"]), images=1).classes[0]
            if found != self._classes[row["id"]]:
                faults.append(f"row {row['id']}: class {found}, not {self._classes[row['id']]}")
        return faults


def alone(folder: Path, notes: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of one process with all processors; a client's rows together."""
    evaluator = Noting(folder / "net.fhec", folder / "keys", notes=str(notes))
    rows = sorted(rows, key=lambda row: row["key"])
    answered = evaluator({name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]})
    return [dict(zip(answered, values, strict=True)) for values in zip(*answered.values(), strict=True)]


class Watch(threading.Thread):
    """Kills a worker that computes, once a third of the rows are answered; else measures nodes."""

    def __init__(self, notes: Path, rows: int, kills: bool, raylets: dict[str, int]):
        super().__init__(daemon=True)
        self._notes, self._rows, self._kills, self._raylets = notes, rows, kills, raylets
        self._end = threading.Event()
        #: The process that was killed, and the rows that it had.
        self.killed: tuple[int, list[int]] | None = None
        #: Most bytes of a node's processes, by the node; what is shared is divided.
        self.nodes: dict[str, int] = {}

    def run(self) -> None:
        while not self._end.wait(0.05 if self._kills else 2):
            if self._kills and self.killed is None:
                self._kill()
            elif not self._kills:
                self._measure()

    def stop(self) -> None:
        self._end.set()
        self.join()

    def _kill(self) -> None:
        notes = read(self._notes)
        if sum(len(note["rows"]) for note in notes if note["what"] == "end") * 3 < self._rows:
            return
        last = {note["process"]: note for note in notes if note["what"] in ("begin", "end")}
        # Who began last has most of its batch before it.
        computing = [note for note in last.values() if note["what"] == "begin"]
        if computing:
            victim = max(computing, key=lambda note: note["at"])
            os.kill(victim["process"], signal.SIGKILL)
            self.killed = victim["process"], victim["rows"]

    def _measure(self) -> None:
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
        for node, raylet in self._raylets.items():
            total = 0
            for process in [raylet, *(child for child, parent in parents.items() if parent == raylet)]:
                try:
                    total += memory(process)["pss"]
                except (OSError, KeyError):
                    continue
            self.nodes[node] = max(self.nodes.get(node, 0), total)


def spread(
    folder: Path, checked: Checked, actors: int, processors: int, batch: int, kills: bool, raylets: dict
) -> dict[str, Any]:
    """Answers all rows on the cluster; what was measured, and what is wrong."""
    import ray

    notes = Path(tempfile.mkdtemp(dir=folder))
    watch = Watch(notes, len(checked.rows), kills, raylets)
    watch.start()
    begin = time.time()
    answers = fhec.ray.map_batches(
        ray.data.from_items(checked.rows),
        folder / "net.fhec",
        folder / "keys",
        actors=actors,
        processors=processors,
        batch_size=batch,
        resources={PLACE: 1},
        evaluator=Noting,
        notes=str(notes),
    ).take_all()
    seconds = time.time() - begin
    watch.stop()
    faults = checked.wrong(answers)
    run = measured(read(notes), seconds)
    if kills and watch.killed is None:
        faults.append("no worker was killed")
    if kills and not run["again"]:
        faults.append("no row was begun twice")
    if not kills and run["on"] != set(raylets):
        faults.append(f"of {len(raylets)} nodes {len(run['on'] & set(raylets))} had an actor")
    return run | {"faults": faults, "killed": watch.killed, "nodes": watch.nodes}


def measured(notes: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Figures of notes."""
    by = {
        what: [note for note in notes if note["what"] == what] for what in ("ready", "keys", "begin", "end")
    }
    last = {note["process"]: note for note in by["end"]}
    begun = [row for note in by["begin"] for row in note["rows"]]
    return {
        "seconds": seconds,
        "computing": by["end"][-1]["at"] - by["begin"][0]["at"],
        "ready": [note["seconds"] for note in by["ready"]],
        "keys": [note["seconds"] for note in by["keys"]],
        "on": {note["node"] for note in notes},
        "again": len(begun) - len(set(begun)),
        "memory": {name: max(note["memory"][name] for note in by["end"]) for name in ("rss", "own")},
        "highest": max(note["highest"] for note in by["end"]),
        "rows": {
            process: sum(len(n["rows"]) for n in by["end"] if n["process"] == process) for process in last
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="processors of a node")
    parser.add_argument("--batch", type=int, default=8, help="rows that an actor gets at a time")
    parser.add_argument("--folder", type=Path, help="where programs and keys are put for the time; 3 GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="fhec-ray-") as folder:
        return bench(options, Path(folder))


def bench(options: argparse.Namespace, folder: Path) -> int:
    os.environ.setdefault("FHEC_COSTS", "zen5")
    checked = prepared(options, folder)

    # Not a fork, and gone before the cluster comes: its memory is its own.
    notes = folder / "alone"
    notes.mkdir()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
        begin = time.time()
        answers = one.submit(alone, folder, notes, checked.rows).result()
        single = measured(read(notes), time.time() - begin) | {"faults": checked.wrong(answers)}
    print(f"one process: {single['seconds']:.1f} s", flush=True)

    calm, disturbed = on_cluster(options, folder, checked)
    print("\n" + table(options, len(checked.rows), single, calm, disturbed))
    faults = [fault for run in (single, calm, disturbed) for fault in run["faults"]]
    for fault in faults:
        print(f"wrong: {fault}", file=sys.stderr)
    return 1 if faults else 0


def prepared(options: argparse.Namespace, folder: Path) -> Checked:
    """Encrypted images of the clients. The program and the keys are put into the folder."""
    begin = time.time()
    program = fhec.compile(options.model)
    program.save(folder / "net.fhec", part="server")
    print(f"{program.name}: compiled in {time.time() - begin:.1f} s", flush=True)
    begin = time.time()
    clients = {name: fhec.Client(program) for name in CLIENTS}
    for name, client in clients.items():
        client.evaluation_keys().save(folder / "keys" / name)
    print(f"keys of {len(clients)} clients: {time.time() - begin:.1f} s", flush=True)
    begin = time.time()
    rows = []
    images = pictures(options.images, program.image_shape, options.count)
    for index, image in enumerate(images):
        name = CLIENTS[index % len(CLIENTS)]
        rows.append({"id": index, "key": name, "ciphertext": bytes(clients[name].encrypt(image))})
    size = len(rows[0]["ciphertext"]) / MIB
    print(f"{len(rows)} images of {size:.2f} MiB encrypted: {time.time() - begin:.1f} s", flush=True)
    return Checked(rows, clients, program.predict(images, mode="plain"))


def on_cluster(options: argparse.Namespace, folder: Path, checked: Checked) -> list[dict[str, Any]]:
    """What was measured on a cluster, undisturbed, and with a worker that is killed."""
    import ray
    from ray.cluster_utils import Cluster

    # What Ray says of its progress is not asked for.
    logging.disable(logging.WARNING)
    begin = time.time()
    # Images, their sorted copies, and answers.
    store = 128 * MIB + 4 * sum(len(row["ciphertext"]) for row in checked.rows)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": store, "include_dashboard": False},
    )
    try:
        raylets = {}
        for _ in range(options.nodes):
            node = cluster.add_node(
                num_cpus=options.threads, resources={PLACE: 1}, object_store_memory=128 * MIB
            )
            raylets[node.node_id] = node.all_processes["raylet"][0].process.pid
        ray.init(address=cluster.address, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        print(f"cluster of {options.nodes} nodes and a head: {time.time() - begin:.1f} s", flush=True)
        runs = []
        for kills in (False, True):
            runs.append(
                spread(folder, checked, options.nodes, options.threads, options.batch, kills, raylets)
            )
            print(f"{'a worker killed' if kills else 'undisturbed'}: {runs[-1]['seconds']:.1f} s", flush=True)
        return runs
    finally:
        ray.shutdown()
        cluster.shutdown()


def table(
    options: argparse.Namespace,
    count: int,
    single: dict[str, Any],
    calm: dict[str, Any],
    disturbed: dict[str, Any],
) -> str:
    nodes, threads = options.nodes, options.threads
    _, had = disturbed["killed"] or (0, [])
    rows = [
        ("what", "figure"),
        ("---", "---"),
        (f"one process, {os.cpu_count()} threads", right(single, count)),
        ("its start: weights, keys of a client", start(single)),
        ("without its start", rate(single, count)),
        ("its memory, at the end and highest", memories(single)),
        (f"{nodes} nodes with an actor each, threads of an actor: {threads}", right(calm, count)),
        ("start of an actor: weights, keys of a client", start(calm)),
        ("from the first batch to the last", rate(calm, count)),
        ("rows of each actor", ", ".join(map(str, sorted(calm["rows"].values())))),
        ("memory of an actor, at the end and highest", memories(calm)),
        (
            "memory of an actor that it shares with other processes",
            f"{(calm['memory']['rss'] - calm['memory']['own']) / MIB:.0f} MiB",
        ),
        ("memory of a node, all its processes", gib(max(calm["nodes"].values(), default=0))),
        (f"the same, and an actor killed that had {len(had)} rows", right(disturbed, count)),
        ("rows begun again", str(disturbed["again"])),
        ("from the first batch to the last", rate(disturbed, count)),
    ]
    return "\n".join(f"| {what} | {figure} |" for what, figure in rows)


def right(run: dict[str, Any], count: int) -> str:
    return f"{run['seconds']:.1f} s, " + ("WRONG" if run["faults"] else f"{count} of {count} right")


def rate(run: dict[str, Any], count: int) -> str:
    return f"{run['computing']:.1f} s, {count / run['computing']:.2f} images/s"


def gib(size: float) -> str:
    return f"{size / (1 << 30):.2f} GiB"


def memories(run: dict[str, Any]) -> str:
    return f"{gib(run['memory']['rss'])}, {gib(run['highest'])}"


def start(run: dict[str, Any]) -> str:
    return f"{max(run['ready']):.1f} s, {max(run['keys']):.1f} s"


if __name__ == "__main__":
    sys.exit(main())
