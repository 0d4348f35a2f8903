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
            values = np.ascontiguousarray(x, dtype=np.float32)
        return values
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
    for batch in batches:
        pair = isinstance(batch, (list, tuple)) and len(batch) == 2
        array = as_images(batch[0] if pair else batch)
        if isinstance(array, str):
            raise DataError("an iterable of paths: give arrays, or one path of a file with all images")
        if images and (array.dtype != images[0].dtype or array.shape[1:] != images[0].shape[1:]):
            if array.shape != images[0].shape or array.dtype != images[0].dtype:
                raise DataError(
                    f"batches of {images[0].dtype} {images[0].shape} and {array.dtype} {array.shape}: "
                    "all images must have one shape and type"
                )
        images.append(array)
        count += array.shape[0] if array.ndim == 4 else 1
        if count >= most:
            break
    if not images:
        raise DataError("the iterable is empty: give some hundred images")
    # Batches of four dimensions follow one another; other arrays are one image each.
    joined = np.concatenate(images) if images[0].ndim == 4 else np.stack(images)
    return np.ascontiguousarray(joined[:most])


def as_classes(y: Any, count: int) -> NDArray[np.int64]:
    """Classes `[count]`."""
    classes = as_numpy(y)
    if not np.issubdtype(classes.dtype, np.integer):
        raise DataError(f"classes are integers, not {classes.dtype}")
    if classes.shape not in ((count,), (count, 1)):
        raise DataError(f"classes of shape {list(classes.shape)} for {count} images: [{count}] is expected")
    return classes.reshape(count).astype(np.int64)
