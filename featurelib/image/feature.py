"""The record that image transforms hand on."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurelib.errors import FeatureError
from featurelib.image import functional as F

__all__ = ["ImageFeature", "as_feature"]


class ImageFeature(dict):
    """An image and what is known of it, a dict (BigDL's `ImageFeature`, with its keys).

    ===============  ================================================================================
    key              value
    ===============  ================================================================================
    ``bytes``        the encoded file
    ``mat``          the picture: (height, width, channels), B, G, R; uint8, uint16 or float32
    ``imageTensor``  float32 (channels, height, width), made by `ImageMatToTensor`
    ``floats``       the same, made by `MatToFloats`
    ``roi``          the objects in it: a `Roi`; its boxes follow the picture
    ``sample``       a `Sample` of input and target tensors, made by `ImageSetToSample`
    ``originalSize`` (height, width, channels) when decoded
    ``label``        anything
    ``uri``          where it came from
    ===============  ================================================================================

    `image` is encoded bytes or a picture, `path` becomes ``uri``. `numpy.asarray` gives the tensor (``imageTensor``, or
    ``floats``) if there is one, else the picture, which is all that most transforms need: a cache may keep just that,
    without label and boxes.

    >>> feature = ImageFeature(np.zeros((2, 3, 1), np.uint8), label=1.0)
    >>> sorted(feature), feature["originalSize"], np.asarray(feature).shape
    (['label', 'mat', 'originalSize'], (2, 3, 1), (2, 3, 1))
    """

    def __init__(
        self,
        image: bytes | bytearray | memoryview | np.ndarray | None = None,
        label: Any = None,
        path: str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(image, np.ndarray):
            self["mat"] = F.as_mat(image)
            self["originalSize"] = self["mat"].shape
        elif image is not None:
            self["bytes"] = bytes(image)
        if label is not None:
            self["label"] = label
        if path is not None:
            self["uri"] = path

    def replace(self, **changes: Any) -> ImageFeature:
        """A copy with other values under some keys; the original stays as it is."""
        copy = ImageFeature.__new__(ImageFeature)
        copy.update(self, **changes)
        return copy

    def get_label(self) -> Any:
        """The label, or None."""
        return self.get("label")

    def get_image(self, float_key: str = "imageTensor", to_chw: bool = True) -> np.ndarray:
        """The tensor under `float_key`, or else the picture as float32; (channels, height, width) or channels last.

        >>> ImageFeature(np.zeros((2, 3, 1), np.uint8)).get_image().shape
        (1, 2, 3)
        """
        tensor = self[float_key] if float_key in self else F.to_tensor(self["mat"])
        return tensor if to_chw else tensor.transpose(1, 2, 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = next((self[key] for key in ("imageTensor", "floats", "mat") if key in self), None)
        if array is None:
            raise FeatureError(
                f"ImageFeature holds no picture yet, only {sorted(self)}. Hint: ImageBytesToMat() first."
            )
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def __repr__(self) -> str:
        parts = [
            f"{k}={v.dtype}{v.shape}" if isinstance(v, np.ndarray) else f"{k}={_brief(v)}" for k, v in self.items()
        ]
        return f"ImageFeature({', '.join(parts)})"


def as_feature(value: Any) -> ImageFeature:
    """Take an `ImageFeature` as it is, wrap encoded bytes or an array; `FeatureError` for anything else.

    >>> as_feature(b"...")
    ImageFeature(bytes=3 bytes)
    """
    if isinstance(value, ImageFeature):
        return value
    if isinstance(value, (bytes, bytearray, memoryview, np.ndarray)):
        return ImageFeature(value)
    received = "null" if value is None else type(value).__name__
    hint = " Hint: RowToImageFeature() takes Spark's image structs." if hasattr(value, "keys") else ""
    raise FeatureError(f"an image must be bytes, an array or an ImageFeature. Received: {received}.{hint}")


def _brief(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
