"""Volumes (3-D images): crops, rotation and affine transforms, those of Analytics Zoo's `zoo.feature.image3d`.

A volume is an array (depth, height, width) or (depth, height, width, channels). Places are counted from 0. Crops keep
the type of the numbers, what interpolates gives float32.

>>> import numpy as np
>>> chain = CenterCrop3D(8, 8, 8) >> Rotate3D([0.0, 0.0, np.pi / 2])
>>> chain(np.zeros((12, 10, 9), np.uint8)).shape
(8, 8, 8)
"""

from __future__ import annotations

from featurelib.volume.transforms import AffineTransform3D, CenterCrop3D, Crop3D, RandomCrop3D, Rotate3D

__all__ = ["AffineTransform3D", "CenterCrop3D", "Crop3D", "RandomCrop3D", "Rotate3D"]
