"""Pure functions on pictures, by kind; they are what calls OpenCV.

A picture (mat) is an array (height, width, channels), channels in the order B, G, R (and alpha), or one of grey;
uint8 or uint16 as stored, or float32. No function changes its input; results may share its memory.
"""

from __future__ import annotations

from featurelib.image.functional.codec import MAX_PIXELS, as_mat, decode, encode_png
from featurelib.image.functional.color import adjust, adjust_colour, adjust_in_turn, blur, fill, reorder
from featurelib.image.functional.geometry import (
    BORDERS,
    crop,
    flip_map,
    hflip,
    mirror,
    pad,
    resize,
    rotation_map,
    scale_map,
    shear_map,
    shift_map,
    translate,
    warp,
)
from featurelib.image.functional.mix import cutmix, mixup
from featurelib.image.functional.tensor import channel_normalize, normalize_range, subtract, to_tensor

__all__ = [
    "BORDERS",
    "MAX_PIXELS",
    "adjust",
    "adjust_colour",
    "adjust_in_turn",
    "as_mat",
    "blur",
    "channel_normalize",
    "crop",
    "cutmix",
    "decode",
    "encode_png",
    "fill",
    "flip_map",
    "hflip",
    "mirror",
    "mixup",
    "normalize_range",
    "pad",
    "reorder",
    "resize",
    "rotation_map",
    "scale_map",
    "shear_map",
    "shift_map",
    "subtract",
    "to_tensor",
    "translate",
    "warp",
]
