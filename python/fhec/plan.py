"""What a compile decided and predicts."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, final

from fhec import _native

Row = dict[str, Any]


@final
class Plan(Mapping[str, Any]):
    """The object that `fhec inspect --json` prints; `docs/plan.md` explains it.

    A mapping, with attributes for what is asked most. In a notebook it shows the first table of
    the plan's page; `pandas.DataFrame(plan.layers)` works.
    """

    def __init__(self, program: _native.Program) -> None:
        self._program = program
        self._rows: Row = json.loads(program.plan_json())

    def __getitem__(self, key: str) -> Any:
        return self._rows[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def security_bits(self) -> int:
        """Bits of security that all secrets keep."""
        return int(self["security_bits"])

    @property
    def log_n(self) -> int:
        """`log2` of the ring degree."""
        return int(self["log_n"])

    @property
    def bootstraps(self) -> int:
        """Bootstraps of one run, those of a softmax included."""
        return int(self["bootstraps"]) + int(self["bootstraps_softmax"])

    @property
    def rotations(self) -> int:
        """Rotations of one run."""
        return int(self["rotations"])

    @property
    def keys_needed(self) -> int:
        """Evaluation keys that the server needs."""
        return int(self["keys"])

    @property
    def key_bytes(self) -> int:
        """Bytes of these keys in memory."""
        return int(self["key_bytes"])

    @property
    def batch(self) -> int:
        """Images of one run."""
        return int(self["batch"])

    @property
    def predicted_seconds(self) -> float:
        """Seconds of one run, keys loaded, on the machine of the cost table."""
        return float(self["predicted_seconds"])

    @property
    def predicted_peak_bytes(self) -> int:
        """Peak memory of an evaluation in bytes, keys included."""
        return int(self["predicted_peak_bytes"])

    @property
    def agreement(self) -> float | None:
        """Share of sample images that keep their class with the approximated activations."""
        row = self["agreement"]
        return None if row is None else row["agreeing_images"] / max(row["judged_images"], 1)

    @property
    def layers(self) -> list[Row]:
        """One row per layer: levels, rotations, predicted seconds and error."""
        return list(self["layers"])

    @property
    def bootstrap_sites(self) -> list[Row]:
        """Why each bootstrap is where it is."""
        return list(self["bootstrap_sites"])

    @property
    def notes(self) -> list[str]:
        """Warnings and remarks."""
        return list(self["notes"])

    def html(self) -> str:
        """The plan's page: a document of its own, as `fhec inspect --html` writes it."""
        return self._program.plan_html()

    def __str__(self) -> str:
        return self._program.plan_text()

    def __repr__(self) -> str:
        return (
            f"Plan({self['network']!r}, {self.security_bits} bits of security, {self.bootstraps} bootstraps, "
            f"{self.predicted_seconds:.2f} s predicted)"
        )

    def _repr_html_(self) -> str:
        return self._program.plan_summary_html()
