"""The networks of the papers, MONAI's ResNet and DenseNet, and the linear SVM; one registry."""

from heatproof.models import (  # noqa: F401  (they enter the registry)
    blocks,
    ecg_resnet,
    efficientnet,
    inception,
    linear,
    monai_networks,
    resnet_bottleneck,
    vgg,
    xception,
)
from heatproof.models.linear import LinearSVM
from heatproof.models.registry import NETWORKS, Network, NetworkSpec, build, register
from heatproof.models.weights import LoadedModel, load_foreign_weights, load_weights, save_weights

__all__ = [
    "NETWORKS",
    "LinearSVM",
    "LoadedModel",
    "Network",
    "NetworkSpec",
    "build",
    "load_foreign_weights",
    "load_weights",
    "register",
    "save_weights",
]
