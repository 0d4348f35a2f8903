"""Arrays that come in: orders of dimensions, types, and what is refused."""

import numpy as np
import pytest
from conftest import MODELS

import fhec
from fhec._arrays import as_classes, collect_images


def test_dimensions_may_stand_in_every_order_that_a_file_may_have(program, digits) -> None:
    images, _ = digits
    expected = program.plain(images)
    np.testing.assert_array_equal(program.plain(images.transpose(0, 2, 3, 1)), expected)
    np.testing.assert_array_equal(program.plain(images[:, 0]), expected)
    np.testing.assert_array_equal(program.plain(images[0]), expected[:1])
    np.testing.assert_array_equal(program.plain(images[0, 0]), expected[:1])
    np.testing.assert_array_equal(program.plain(np.asfortranarray(images)), expected)
    np.testing.assert_array_equal(program.plain(images[::-1]), expected[::-1])
    np.testing.assert_array_equal(program.plain(list(images)), expected)


def test_pixels_are_normalised_and_floats_are_not(program, digits) -> None:
    images, _ = digits
    scale, mean, std = program.interface.normalisation
    for dtype in (np.float32, np.float64):
        values = (
            (images.astype(np.float32) / np.float32(scale) - np.float32(mean)) / np.float32(std)
        ).astype(dtype)
        np.testing.assert_allclose(program.plain(values), program.plain(images), atol=1e-5)


def test_a_path_is_a_picture(program, digits) -> None:
    images, _ = digits
    path = sorted((MODELS / "digits").glob("digit_*.png"))[0]
    np.testing.assert_array_equal(program.plain(path), program.plain(images[0]))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((1, 1, 27, 28), np.uint8), "1 × 28 × 28"),
        (np.zeros((0, 1, 28, 28), np.uint8), "no images"),
        (np.zeros((1, 28, 28), np.int64), "astype"),
        (np.zeros((1, 28, 28), np.complex64), "astype"),
        (np.array(["a"]), "astype"),
        (np.full((1, 28, 28), np.nan), "finite"),
        (np.full((1, 28, 28), 1e300), "finite"),
        ([np.zeros((28, 28), np.uint8), np.zeros((27, 28), np.uint8)], "shapes"),
        ({"a": 1}, "array"),
        (None, "array"),
    ],
)
def test_what_is_no_image_says_what_to_do(program, images, says) -> None:
    with pytest.raises(fhec.DataError, match=says):
        program.plain(images)


def test_files_that_are_not_there_are_named(program) -> None:
    with pytest.raises(fhec.DataError, match="absent.png"):
        program.plain("absent.png")


def test_numbers_beyond_those_that_the_program_was_made_for_are_refused(program, client) -> None:
    with pytest.raises(fhec.DataError, match="normalise"):
        client.encrypt(np.full((1, 28, 28), 1000.0))
    with pytest.raises(fhec.DataError, match="normalise"):
        program.simulate(np.full((1, 28, 28), 1000.0))


def test_iterables_of_batches_are_joined(digits) -> None:
    images, labels = digits
    batches = [(images[:5], labels[:5]), (images[5:], labels[5:])]
    np.testing.assert_array_equal(collect_images(iter(batches), 100), images)
    np.testing.assert_array_equal(collect_images(batches, 100), images)
    np.testing.assert_array_equal(collect_images((batch for batch, _ in batches), 7), images[:7])
    np.testing.assert_array_equal(collect_images(zip(images, labels, strict=True), 100), images)
    features = images.reshape(len(images), -1)
    loader = [(features[:5], labels[:5].tolist()), (features[5:], labels[5:])]
    np.testing.assert_array_equal(collect_images(loader, 100), features)
    assert collect_images(iter([features[:2], features[2:4]]), 100).shape == (2, *features[:2].shape)
    assert collect_images(None, 100) is None
    endless = (images for _ in iter(int, 1))
    assert len(collect_images(endless, 30)) == 30
    with pytest.raises(fhec.DataError, match="empty"):
        collect_images(iter([]), 100)
    with pytest.raises(fhec.DataError, match="one shape"):
        collect_images(iter([images[:1], images[:1, :, 1:]]), 100)
    with pytest.raises(fhec.DataError, match="iterable"):
        collect_images(3.5j, 100)


def test_classes_are_integers_one_per_image() -> None:
    assert as_classes([[1], [300]], 2).tolist() == [1, 300]
    with pytest.raises(fhec.DataError, match="integers"):
        as_classes([1.0], 1)
    with pytest.raises(fhec.DataError, match=r"\[2\]"):
        as_classes([1], 2)
