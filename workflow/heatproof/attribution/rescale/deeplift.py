"""DeepLIFT with the rescale rule, and its mean over training scans: DeepSHAP."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import ConfigError, UnsupportedModelError
from ..baselines import background_scans, baseline_scans
from ..isolation import channels_last, run
from ..registry import Attribution, choice, register
from ..targets import STARTS, start_values
from .calls import Linearising, Recording, named_calls, refuse_unseen
from .rules import Tape, quotient

BACKGROUNDS = ("training",)


class Linearised:
    """A network around some points as a linear function of the differences from other points.

    Parameters
    ----------
    model : nn.Module
        A private network.
    points : Tensor, shape (B, C, *S)

    Raises
    ------
    UnsupportedModelError
        The network calls a function that has no rescale rule.
    """

    def __init__(self, model: nn.Module, points: torch.Tensor) -> None:
        self.model, self.tape = model, Tape()
        self.points = channels_last(model, points).detach().requires_grad_()
        with torch.enable_grad(), named_calls(model) as layers, Linearising(model, self.tape, layers) as mode:
            self.outputs = run(model, self.points)
        self.n_calls = mode.n_calls
        refuse_unseen(self.outputs)

    def against(
        self, others: torch.Tensor, target: torch.Tensor | None, start: str, keep: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the change of the explained number from other points to the points, and the multipliers.

        Parameters
        ----------
        others : Tensor, shape (B, C, *S) or (1, C, *S)
        target : Tensor of int, shape (B,), or None
        start : {"logit", "probability", "value"}
        keep : bool
            Whether the points will be compared with still other ones.

        Returns
        -------
        rise : Tensor, shape (B,)
        multipliers : Tensor, shape (B, C, *S)
            Their product with the differences of the points sums to the rise.
        """
        with torch.no_grad(), Recording(self.tape):
            outputs = run(self.model, channels_last(self.model, others).detach())
        self.check_calls(outputs)
        with torch.enable_grad():
            here = margin(self.outputs, target, start)
        there = margin(outputs.expand_as(self.outputs), target, start)
        first = torch.ones_like(here)
        rise = (here - there).detach().double()
        if start == "probability":
            first = quotient(torch.sigmoid, here.detach(), there).to(here)
            rise = here.detach().double().sigmoid() - there.double().sigmoid()
        (multipliers,) = torch.autograd.grad(here, self.points, first, retain_graph=keep)
        self.tape.calls.clear()
        return rise, multipliers

    def check_calls(self, outputs: torch.Tensor) -> None:
        """Check that both forward passes made the same calls.

        Raises
        ------
        UnsupportedModelError
            They did not.
        """
        if len(self.tape.calls) != self.n_calls or outputs.shape[1:] != self.outputs.shape[1:]:
            raise UnsupportedModelError(
                f"The forward pass makes {self.n_calls} nonlinear calls for a scan, {len(self.tape.calls)} for its "
                "baseline.",
                field=type(self.model).__name__,
                remedy="Write it without branches that depend on a tensor's values.",
            )


def margin(outputs: torch.Tensor, target: torch.Tensor | None, start: str) -> torch.Tensor:
    """Return what is explained, shape (B,): the output, or that of which the probability is the logistic function.

    Raises
    ------
    UnsupportedModelError
        A probability of more than two classes: a softmax of three logits is no function of one number, so no
        rescale rule says what each logit contributes.
    """
    logit = start_values(outputs, target, "logit")
    if choice(start, STARTS, "start") != "probability" or outputs.ndim == 1 or outputs.shape[1] == 1:
        return logit
    if outputs.shape[1] > 2:
        raise UnsupportedModelError(
            f"The rescale rule does not explain a softmax of {outputs.shape[1]} classes.",
            field="start",
            remedy="Set start: logit, as the authors advise (Shrikumar et al. 2017, section 3.6).",
        )
    others = None if target is None else 1 - target
    return logit - start_values(outputs, others, "logit")


@register(
    "deeplift",
    family="rescale",
    cost="2 forward, 1 backward",
    citation="Shrikumar, Greenside and Kundaje 2017, arXiv 1704.02685, rescale rule; Ancona et al. 2018, "
    "arXiv 1711.06104",
)
def deeplift(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    start: str = "logit",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
) -> Attribution:
    """Return the scan minus its baseline, times a gradient in which difference quotients stand for slopes.

    Every nonlinear function of one element passes on (f(x) - f(x')) / (x - x'), where x and x' are what it saw
    for the scan and for the baseline in that very call; a maximum gives its change to the place of the larger
    maximum. Everything else in the network has to be linear.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline : {"zero", "control_mean", "blurred"} or Tensor (C, *S) or (1, C, *S)
        The scan without the evidence, see `paths.straight.integrated_gradients`.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    start : {"logit", "probability", "value"}
        What is explained. A probability is a logistic function of the logit (one class) or of the difference of
        two; of more classes it is refused.
    control_mean, zero_intensity
        See `paths.straight.integrated_gradients`.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(baseline)), zero but for rounding.

    Raises
    ------
    ConfigError
        An unknown baseline.
    UnsupportedModelError
        Two branches are multiplied, a normalisation uses the scan's own statistics, a softmax or any other
        function is called that has no rescale rule; the message names it and its layer.
    """
    begin = baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma)
    rise, multipliers = Linearised(model, inputs).against(begin, target, start, keep=False)
    maps = multipliers * (inputs - begin)
    return Attribution.promising(maps, rise)


@register(
    "deepshap",
    family="rescale",
    cost="n_samples backward; for each batch of scans n_samples forward; for each batch of training scans 1 forward",
    citation="Lundberg and Lee 2017, arXiv 1705.07874, section 4.2",
)
def deepshap(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str = "training",
    n_samples: int | None = None,
    start: str = "logit",
    background: torch.Tensor | None = None,
    batch_size: int = 1,
) -> Attribution:
    """Return the mean of DeepLIFT over training scans as baselines.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline : {"training"}
        Every scan is compared with the same training scans.
    n_samples : int, optional
        How many of the `background` scans, the first ones; by default all.
    start : {"logit", "probability", "value"}
        See `deeplift`.
    background : Tensor, shape (N, C, *S)
        Training scans.
    batch_size : int
        Training scans in one pass.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - mean f(training scan)), zero but for rounding.

    Raises
    ------
    ConfigError
        No training scans, or fewer than `n_samples`.
    UnsupportedModelError
        As `deeplift`.
    """
    choice(baseline, BACKGROUNDS, "baseline")
    begins = background_scans(inputs, background)
    begins = begins[: checked_number(n_samples, len(begins))]
    maps = torch.zeros_like(inputs)
    rises = torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
    for part in begins.split(batch_size):
        # the multipliers of two points are the same in both directions: the training scans' graph serves all scans
        linearised = Linearised(model, part)
        for scan in range(len(inputs)):
            classes = None if target is None else target[scan].expand(len(part))
            others = inputs[scan : scan + 1]
            fall, multipliers = linearised.against(others, classes, start, keep=scan + 1 < len(inputs))
            maps[scan] += multipliers.mul_(others - part).sum(0) / len(begins)
            rises[scan] -= fall.sum() / len(begins)
    return Attribution.promising(maps, rises)


def checked_number(n_samples: int | None, n_background: int) -> int:
    """Return how many training scans to compare with.

    Raises
    ------
    ConfigError
        Fewer than one or more than there are.
    """
    if n_samples is None:
        return n_background
    if not 1 <= n_samples <= n_background:
        raise ConfigError(
            f"{n_samples} of {n_background} training scans are asked for.",
            field="n_samples",
            remedy=f"Use 1 to {n_background}, or pass more training scans as background=.",
        )
    return n_samples
