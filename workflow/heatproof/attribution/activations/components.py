"""Class activation without a class: the principal component of the feature maps."""

from __future__ import annotations

import torch
from torch import nn

from ..registry import register
from .layers import features_and_output, on_grid, rectified_layer, weighted_sum

# Loadings of norm one that sum to less than this have no common sign.
NO_COMMON_SIGN = 1e-6


@register(
    "eigencam",
    family="activations",
    cost="1 forward and an eigenproblem of the layer's channels",
    citation="Muhammad and Yeasin 2020, doi 10.1109/IJCNN48605.2020.9206626; arXiv 2008.00299",
)
def eigencam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    centred: bool = False,
) -> torch.Tensor:
    """Return a layer's feature maps projected onto their first right singular vector, on the scan's grid.

    No class enters: the map says what the layer saw, not what spoke for the target. A singular vector has no
    sign of its own; it is given the one by which the map and the sum of the feature maps agree (their product
    summed over voxels is positive), so that the map is positive where the activations are. That of rectified
    features is nowhere negative.

    The vector is found as the first eigenvector of the K x K products of the channels, in double precision, at
    a small part of the cost of the singular value decomposition of channels x voxels.

    Parameters
    ----------
    model, inputs
        See `heatproof.attribution.attribute`.
    target
        Ignored.
    layer : str, optional
        Name of the layer; by default the rectifier after the deepest convolution: the output of a convolution may
        be negative nearly everywhere, and the map with it.
    centred : bool
        Subtract each channel's mean first: then the component is that of largest variance. The paper does not;
        pytorch-grad-cam does.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Signed where the features are. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`; no rectifier follows the deepest convolution.
    """
    features, _ = features_and_output(model, inputs, rectified_layer(model, layer))
    if centred:
        features = features - features.flatten(2).mean(2).reshape(*features.shape[:2], *[1] * (features.ndim - 2))
    return on_grid(weighted_sum(first_loadings(features), features), inputs.shape[2:])


def first_loadings(features: torch.Tensor) -> torch.Tensor:
    """Return the first right singular vector of each scan's features (voxels x channels), shape (B, K).

    The product of the map and the summed features is the eigenvalue times the sum of the loadings, so that sum
    decides the sign; where it is zero, the largest loading does.
    """
    rows = features.flatten(2).double()
    loadings = torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1]
    total = loadings.sum(1, keepdim=True)
    largest = loadings.gather(1, loadings.abs().argmax(1, keepdim=True))
    sign = torch.where(total.abs() < NO_COMMON_SIGN, largest, total).sign()
    return (loadings * sign).to(features)
