"""A program as a classifier of scikit-learn."""

import numpy as np
import pytest

import fhec

pytest.importorskip("sklearn")


def test_a_program_is_a_classifier(program, digits) -> None:
    from sklearn.base import clone
    from sklearn.metrics import confusion_matrix
    from sklearn.utils.validation import check_is_fitted

    from fhec.sklearn import FhecClassifier

    images, labels = digits
    classifier = FhecClassifier(program, mode="plain").fit(images, labels)
    check_is_fitted(classifier)
    assert classifier.classes_.tolist() == list(range(10))
    np.testing.assert_array_equal(classifier.predict(images), program.predict(images, mode="plain"))
    rows = images.reshape(len(images), -1)
    np.testing.assert_array_equal(classifier.decision_function(rows), program.plain(images))
    np.testing.assert_allclose(classifier.predict_proba(rows).sum(axis=1), 1.0)
    accuracy = (classifier.predict(images) == labels).mean()
    assert classifier.score(images, labels) == accuracy > 0.9
    assert confusion_matrix(labels, classifier.predict(images)).trace() == round(accuracy * len(labels))
    named = clone(classifier).set_params(classes=[f"digit {digit}" for digit in range(10)], mode="simulate")
    assert named.predict(images[:1]).tolist() == [f"digit {labels[0]}"]
    with pytest.raises(fhec.DataError, match="10 apart"):
        FhecClassifier(program, classes=["a"]).predict(images)
