"""Small versions of the published image networks: the least grid that each takes, and a share of its channels."""

from __future__ import annotations

import torch
from torch import nn

from heatproof.models import build

# Least voxels along an axis; 1 where every grid is enough.
LEAST = {
    "vgg16": 32,
    "vgg19": 32,
    "resnet50": 1,
    "resnet50_v2": 1,
    "densenet121": 29,
    "inception_v3": 75,
    "inception_resnet_v2": 75,
    "xception": 7,
    "efficientnet_b0": 1,
}
NARROW = {name: {"width_share": 0.05} for name in LEAST}


def narrow(name: str, axes: int = 2, length: int | None = None, **more: object) -> nn.Module:
    """Return a narrow network whose statistics are those of no fresh one, for one channel and two classes."""
    length = length or max(LEAST[name], 32)
    network = build(name, shape=(length,) * axes, seed=1, **{**NARROW[name], **more})
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                module.running_mean.normal_(0, 0.1, generator=random)
                module.running_var.uniform_(0.5, 1.5, generator=random)
                module.bias.normal_(0, 0.1, generator=random)
    return network.eval()


def scans(network_name: str, axes: int = 2, count: int = 2, length: int | None = None) -> torch.Tensor:
    """Return noise of the grid that `narrow` takes."""
    length = length or max(LEAST[network_name], 32)
    return torch.randn(count, 1, *(length,) * axes, generator=torch.Generator().manual_seed(3))
