"""What users give as images and classes, as arrays."""

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fhec.errors import DataError

#: Pixels (`uint8`, normalised by the program), network input (floats), or the path of a file with
#: images. `[n, c, h, w]`, `[n, h, w, c]`, or one image without the first dimension.
Images: TypeAlias = ArrayLike | os.PathLike[str] | str

#: What the native half takes.
NativeImages: TypeAlias = NDArray[np.uint8] | NDArray[np.float32] | str


def as_images(x: Any) -> NativeImages:
    """`x` as a contiguous array of `uint8` or `float32`, or a path. Shapes are checked later."""
    if isinstance(x, (str, os.PathLike)):
        return os.fspath(x)
    x = as_numpy(x)
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if np.issubdtype(x.dtype, np.floating):
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(x, dtype=np.float32)
    raise DataError(
        f"an array of {x.dtype}: images are uint8 (pixels, which are normalised) or floats (network "
        "input, taken as it is); convert with .astype('uint8') or .astype('float32')"
    )


def as_numpy(x: Any) -> NDArray[Any]:
    """`x` as an array: NumPy's, a tensor of PyTorch, a picture of Pillow, lists of numbers."""
    if callable(getattr(x, "detach", None)):
        x = x.detach().cpu().numpy()
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise DataError(f"images of different shapes make no array: {error}") from error
    if array.dtype == object:
        raise DataError(f"{type(x).__name__} is no array of numbers: give [n, c, h, w] as uint8 or floats")
    return array


def collect_images(data: Any, most: int) -> NativeImages | None:
    """Images of an array, a file, or an iterable of arrays or of pairs `(images, classes)`, such as
    a `DataLoader` of PyTorch; of an iterable, the first `most`.
    """
    if data is None:
        return None
    is_array = hasattr(data, "__array__") or callable(getattr(data, "detach", None))
    is_list = isinstance(data, (list, tuple)) and not any(hasattr(item, "__array__") for item in data)
    if isinstance(data, (str, os.PathLike)) or is_array:
        return as_images(data)
    if is_list and not any(isinstance(item, (list, tuple)) and len(item) == 2 for item in data):
        return as_images(data)
    if not isinstance(data, Iterable):
        raise DataError(f"{type(data).__name__} is no array and no iterable of arrays")
    return _stacked(data, most)


def _stacked(batches: Iterable[Any], most: int) -> NativeImages:
    images: list[NDArray[Any]] = []
    count = 0
    for item in batches:
        pair = isinstance(item, (list, tuple)) and len(item) == 2
        array = as_images(item[0] if pair else item)
        if isinstance(array, str):
            raise DataError("an iterable of paths: give arrays, or one path of a file with all images")
        # Arrays of four dimensions are batches, and those with as many classes; others are one image.
        if array.ndim != 4 and not (pair and np.shape(item[1])[:1] == array.shape[:1] != ()):
            array = array[np.newaxis]
        first = images[0] if images else array
        if (array.dtype, array.shape[1:]) != (first.dtype, first.shape[1:]):
            raise DataError(
                f"images of {first.dtype} {list(first.shape[1:])} and of {array.dtype} "
                f"{list(array.shape[1:])}: all must have one shape and type"
            )
        images.append(array)
        count += len(array)
        if count >= most:
            break
    if not images:
        raise DataError("the iterable is empty: give some hundred images")
    return np.ascontiguousarray(np.concatenate(images)[:most])


def as_classes(y: Any, count: int) -> NDArray[np.int64]:
    """Classes `[count]`."""
    classes = as_numpy(y)
    if not np.issubdtype(classes.dtype, np.integer):
        raise DataError(f"classes are integers, not {classes.dtype}")
    if classes.shape not in ((count,), (count, 1)):
        raise DataError(f"classes of shape {list(classes.shape)} for {count} images: [{count}] is expected")
    return classes.reshape(count).astype(np.int64)
