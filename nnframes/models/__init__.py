"""Ready networks."""

from nnframes.models.inception import Inception_v1_NoAuxClassifier
from nnframes.models.lenet import LeNet5
from nnframes.models.mlp import MLP
from nnframes.models.vgg import VggForCifar10

__all__ = ["MLP", "Inception_v1_NoAuxClassifier", "LeNet5", "VggForCifar10"]
