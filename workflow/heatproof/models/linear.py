"""The linear support vector machine as a network, so that it predicts and is explained like one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.errors import ConfigError
from heatproof.models.registry import register


class LinearSVM(nn.Module):
    """A linear decision function with its activation pattern.

    The decision value is ``s = <weight, x> + bias`` and the logits are ``(-slope s / 2, slope s / 2)``:
    softmax then gives ``P(patient) = 1 / (1 + exp(-slope s))``. The slope is the temperature form of Platt's
    calibration; it never changes a decision.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    shape : tuple of int
        Space axes of the input.

    Attributes
    ----------
    weight : Tensor, shape (in_channels, *shape)
        Coefficients.
    bias : Tensor, shape ()
        Intercept.
    slope : Tensor, shape ()
        Calibration, above zero; 1 until fitted.
    pattern : Tensor, shape (in_channels, *shape)
        Activation pattern ``cov(x, s) / var(s)`` (Haufe et al. 2014, NeuroImage 87:96-110, eq. 6).
    """

    weight: Tensor
    bias: Tensor
    slope: Tensor
    pattern: Tensor

    def __init__(self, in_channels: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(in_channels, *shape))
        self.register_buffer("bias", torch.zeros(()))
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("pattern", torch.zeros(in_channels, *shape))

    def decision(self, inputs: Tensor) -> Tensor:
        """Return the decision values, shape (batch,), of inputs (batch, channels, *space)."""
        return functional.linear(inputs.flatten(1), self.weight.reshape(1, -1)).squeeze(1) + self.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, shape (batch, 2)."""
        half = self.slope * self.decision(inputs) / 2
        return torch.stack([-half, half], dim=1)


@register("linear_svm", "Klöppel et al. (2008). Brain 131:681-689; Haufe et al. (2014). NeuroImage 87:96-110")
def linear_svm(*, in_channels: int, n_classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Return an unfitted linear support vector machine for two classes."""
    if n_classes != 2:
        raise ConfigError(
            f"the linear_svm tells two classes apart, not {n_classes}.",
            field="network",
            remedy="use another network for this cohort.",
        )
    return LinearSVM(in_channels, shape)
