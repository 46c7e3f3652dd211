"""Evidence for guided integrated gradients."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.paths import linear
from attribution.evidence.sampling import gradient_of
from attribution.networks import AVERAGE, CONVOLUTION, SIZE, convolutional, scans, seasoned
from heatproof.attribution import attribute, attribute_with_residual


def value_by_value(model, scan, target, *, n_steps, fraction, max_distance):
    """Return guided integrated gradients from zero, by the published pseudocode and one value at a time."""
    ends = scan.flatten().tolist()
    values, maps = [0.0] * len(ends), [0.0] * len(ends)
    whole = sum(map(abs, ends))
    for step in range(1, n_steps + 1):
        gradient = gradient_of(model, torch.tensor(values, dtype=scan.dtype).reshape(scan.shape), target)
        slopes, before = gradient.flatten().tolist(), list(values)
        behind, ahead = max(step / n_steps - max_distance, 0), min(step / n_steps + max_distance, 1)
        bounds = [ahead * end for end in ends]
        for place, end in enumerate(ends):
            if abs(values[place]) < behind * abs(end):
                values[place] = behind * end
        while True:
            away = sum(abs(end - value) for end, value in zip(ends, values, strict=True))
            surplus = away - whole * (1 - step / n_steps)
            open_places = [place for place, bound in enumerate(bounds) if values[place] != bound]
            if surplus <= 1e-9 * whole or not open_places:
                break
            order = sorted(abs(slopes[place]) for place in open_places) + [math.inf] * len(ends)
            limit = order[math.floor((len(ends) - 1) * fraction)]
            chosen = [place for place in open_places if abs(slopes[place]) <= limit]
            share = surplus / sum(abs(bounds[place] - values[place]) for place in chosen)
            for place in chosen:
                values[place] = bounds[place] if share > 1 else values[place] + share * (bounds[place] - values[place])
            if share <= 1:
                break
        for place in range(len(ends)):
            maps[place] += slopes[place] * (values[place] - before[place])
    return torch.tensor(maps, dtype=scan.dtype).reshape(scan.shape)


def without_distance(n_axes: int) -> float:
    """Return the deviation from integrated gradients where the path may not leave the straight way."""
    model, inputs = convolutional(n_axes), scans(n_axes)
    found = attribute("guided_ig", model, inputs, 1, n_steps=7, max_distance=0.0)
    return deviation(found, attribute("integrated_gradients", model, inputs, 1, n_steps=7))


def network_without_kinks(n_axes: int) -> nn.Module:
    """Return a network of smooth activations and averages."""
    layers = [CONVOLUTION[n_axes](2, 4, 3, padding=1), nn.Softplus(), AVERAGE[n_axes](2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(6), nn.Tanh(), nn.Linear(6, 3))
    model(torch.zeros(2, 2, *SIZE[n_axes]))
    return seasoned(model)


def complete_without_kinks(n_axes: int) -> float:
    """Return the error of completeness as a share of the largest rise: it falls as one over the steps."""
    result = attribute_with_residual("guided_ig", network_without_kinks(n_axes), scans(n_axes), 1, n_steps=400)
    return float(result.residual.abs().max() / result.maps.flatten(1).sum(1).abs().max())


def gradients_for_saliency(model: nn.Module, target: int):
    """Return the function by which the saliency library asks for gradients, in the network's precision."""
    like = next(model.parameters())

    def call(batch, call_model_args=None, expected_keys=None):
        points = torch.from_numpy(np.asarray(batch)).movedim(-1, 1).to(like).requires_grad_()
        gradient = torch.autograd.grad(model(points)[:, target].sum(), points)[0]
        return {"INPUT_OUTPUT_GRADIENTS": gradient.movedim(1, -1).numpy()}

    return call


def saliency_guided_ig(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from saliency.core import GuidedIG

    quantile = np.quantile

    def older_quantile(values, share, interpolation="linear"):
        """`numpy.quantile` as it was called before NumPy 2.4."""
        return quantile(values, share, method=interpolation)

    with mock.patch.object(np, "quantile", older_quantile):
        call = gradients_for_saliency(model, target)
        maps = [GuidedIG().GetMask(scan.movedim(0, -1).numpy(), call, x_steps=25) for scan in inputs]
    return torch.from_numpy(np.stack(maps)).movedim(-1, 1)


EVIDENCE = {
    "guided_ig": Evidence(
        value_by_value,
        {"n_steps": 6, "fraction": 0.2, "max_distance": 0.3},
        (
            Identity("linear network: w x", linear("guided_ig", n_steps=5)),
            Identity("no distance: integrated gradients", without_distance),
            Identity("complete on a network without kinks", complete_without_kinks, 4e-3),
        ),
        Peer("saliency", saliency_guided_ig, {"n_steps": 25}),
    ),
}
