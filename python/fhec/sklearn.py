"""A compiled program as a classifier of scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from fhec._arrays import as_numpy
from fhec.errors import DataError
from fhec.program import Mode, Program


class FhecClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A prefitted classifier: scores, reports and searches of scikit-learn work on simulated or
    encrypted answers.

    `X` are images as `Program` takes them, or rows `[n, c * h * w]`, in the order of `[c, h, w]`.

    Args:
        program: A compiled program whose first output is a list of classes.
        mode: `plain`, `simulate` or `encrypted`.
        classes: What the classes are called in `y`; their numbers if left out.
    """

    def __init__(self, program: Program, mode: Mode = "simulate", classes: Any = None) -> None:
        self.program = program
        self.mode = mode
        self.classes = classes

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes `[classes]`."""
        _, shape, *_ = self.program.interface.outputs[0]
        count = int(np.prod(shape))
        names = np.arange(count) if self.classes is None else np.asarray(self.classes)
        if names.shape != (count,):
            raise DataError(f"classes of shape {list(names.shape)}, and the program tells {count} apart")
        return names

    def fit(self, X: Any, y: Any = None) -> "FhecClassifier":
        """Does nothing: the program was compiled from a trained network."""
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Numbers of the first output, `[n, classes]`."""
        return self.program(self._images(X), self.mode)

    def predict(self, X: Any) -> NDArray[Any]:
        """Classes `[n]`."""
        return np.asarray(self.classes_[self.program.predict(self._images(X), self.mode)])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities `[n, classes]`."""
        return self.program.predict_proba(self._images(X), self.mode)

    def _images(self, X: Any) -> NDArray[Any]:
        array, shape = as_numpy(X), self.program.image_shape
        if array.ndim == 2 and array.shape[1] == np.prod(shape):
            return array.reshape(-1, *shape)
        return array

    def __sklearn_is_fitted__(self) -> bool:
        return True
