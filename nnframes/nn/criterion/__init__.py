"""Criterions: what training makes small.

Each gives an unnormalised loss sum and the sum of its weights, so that the sums of all shards can be added before the
one division.
"""

from nnframes.nn.criterion.base import Criterion
from nnframes.nn.criterion.classes import ClassNLLCriterion, CrossEntropyCriterion
from nnframes.nn.criterion.distance import AbsCriterion, BCECriterion, MSECriterion, SmoothL1Criterion

__all__ = [
    "AbsCriterion",
    "BCECriterion",
    "ClassNLLCriterion",
    "Criterion",
    "CrossEntropyCriterion",
    "MSECriterion",
    "SmoothL1Criterion",
]
