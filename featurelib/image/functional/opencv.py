"""How OpenCV is called: in one thread, and with the channel axis given back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

__all__ = ["call", "single_thread"]


def call(function: Callable[..., np.ndarray], mat: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
    """Call a function of OpenCV on a picture; the result has its channel axis also where there is one channel.

    A part of a picture is read where it lies; OpenCV itself copies what lies in another order.

    >>> call(cv2.flip, np.arange(3, dtype=np.uint8).reshape(1, 3, 1), 1).ravel().tolist()
    [2, 1, 0]
    """
    single_thread()
    result = function(mat, *args, **kwargs)
    return result if result.ndim == 3 else result[:, :, None]


@functools.cache
def single_thread() -> None:
    """Keep OpenCV to the calling thread: tasks are the parallelism, and its own pool does not survive a fork."""
    cv2.setNumThreads(0)
