"""What the encrypted program will answer, without encryption."""

import json
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from fhec import _native


@final
class Simulation:
    """Simulated answers beside those of the plain network. Intervals hold the true share with 95 %
    confidence (Wilson).

    Attributes:
        logits: `[n, numbers]`, simulated.
        reference: The same of the plain network.
        labels: The true classes `[n]`, where they were given.
        summary: The object that `fhec simulate --json` prints, without what labels tell.
    """

    def __init__(
        self,
        logits: NDArray[np.float64],
        reference: NDArray[np.float64],
        labels: NDArray[np.int64] | None,
        summary: str,
    ) -> None:
        self.logits = logits
        self.reference = reference
        self.labels = labels
        self.summary: dict[str, Any] = json.loads(summary)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Simulated classes `[n]`."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    @property
    def reference_classes(self) -> NDArray[np.int64]:
        """Classes of the plain network `[n]`."""
        return np.asarray(self.reference.argmax(axis=1), dtype=np.int64)

    @property
    def agreement(self) -> float | None:
        """Share of images whose class is that of the plain network; `None` if there are no classes."""
        share = self.summary["agreement"]
        return None if share is None else float(share)

    @property
    def agreement_interval(self) -> tuple[float, float] | None:
        """Of the agreement."""
        interval = self.summary["agreement_interval"]
        return None if interval is None else (interval[0], interval[1])

    @property
    def accuracy(self) -> float | None:
        """Share of images whose simulated class is the true one, if that is known."""
        right = self._right(self.classes)
        return None if right is None else right / len(self)

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Of the accuracy."""
        right = self._right(self.classes)
        return None if right is None else _native.wilson(right, len(self))

    @property
    def reference_accuracy(self) -> float | None:
        """The accuracy of the plain network."""
        right = self._right(self.reference_classes)
        return None if right is None else right / len(self)

    @property
    def max_logit_difference(self) -> float:
        """Largest difference of any number from the plain network's."""
        return float(self.summary["max_logit_difference"])

    @property
    def differing(self) -> list[dict[str, Any]]:
        """The images whose class differs from the plain network's."""
        return list(self.summary["differing"])

    @property
    def overflows(self) -> list[dict[str, Any]]:
        """Operands that left the range of what is done to them."""
        return list(self.summary["overflows"])

    def _right(self, classes: NDArray[np.int64]) -> int | None:
        if self.labels is None or not self.summary["classes"]:
            return None
        return int((classes == self.labels).sum())

    def __len__(self) -> int:
        return len(self.logits)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("images", str(len(self)))]
        if self.agreement is not None and self.agreement_interval is not None:
            rows.append(("agreement with the plain network", _share(self.agreement, self.agreement_interval)))
        if self.accuracy is not None and self.accuracy_interval is not None:
            rows.append(("accuracy", _share(self.accuracy, self.accuracy_interval)))
        if self.reference_accuracy is not None:
            rows.append(("accuracy of the plain network", f"{100 * self.reference_accuracy:.2f} %"))
        rows.append(("largest difference of a number", f"{self.max_logit_difference:.1e}"))
        rows.append(("operands out of range", str(len(self.overflows))))
        return rows

    def __repr__(self) -> str:
        return "Simulation(" + ", ".join(f"{name}: {value}" for name, value in self._rows()) + ")"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in self._rows())
        return f"<table><tbody>{rows}</tbody></table>"


def _share(share: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * share:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
