"""The network of Storås et al.: its number of parameters, its layers, and what the attribution methods ask of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from heatproof.attribution import attribute
from heatproof.errors import ConfigError
from heatproof.models import build

SMALL = {"width": 3, "n_blocks": 2, "kernel": 6, "stem_kernel": 4, "pool": 2}


def small(shape: tuple[int, ...] = (24,), **changes: int) -> nn.Module:
    """Return a small network whose batch normalisations have seen something."""
    network = build("ecg_resnet", in_channels=2, n_classes=1, shape=shape, seed=3, **{**SMALL, **changes})
    network.train()(torch.randn(8, 2, *shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def test_the_published_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = build("ecg_resnet", in_channels=12, n_classes=1, shape=(600,))
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_653_313


def test_no_other_choice_of_biases_and_normalisations_has_that_number() -> None:
    # Weights of convolutions and of the linear layer; then each of the groups below may be there or not.
    weights = 12 * 64 * 8 + 64 * 32 * 3 + 8 * 2 * 32 * 64 * 50 + 32
    groups = {"output bias": 1, "stem biases": 64 + 32, "block biases": 8 * (64 + 32)}
    groups |= {"stem norms": 2 * (64 + 32), "first block norms": 8 * 2 * 64, "second block norms": 8 * 2 * 32}
    fitting = []
    for choice in range(2 ** len(groups)):
        chosen = [name for bit, name in enumerate(groups) if choice >> bit & 1]
        if weights + sum(groups[name] for name in chosen) == 1_653_313:
            fitting.append(set(chosen))
    assert fitting == [set(groups)]


def test_every_layer_does_what_the_description_says() -> None:
    network = small()
    scans = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(2))
    state = network.state_dict()

    def rectified(values: torch.Tensor, name: str, place: int) -> torch.Tensor:
        weight, bias = state[f"{name}.{place}.weight"], state[f"{name}.{place}.bias"]
        n_before, n_after = (weight.shape[2] - 1) // 2, weight.shape[2] // 2
        padded = functional.pad(values, (n_before, n_after))
        steps = [(padded[:, None, :, t : t + weight.shape[2]] * weight).sum((2, 3)) for t in range(values.shape[2])]
        convolved = torch.stack(steps, 2) + bias[:, None]
        norm = {key: state[f"{name}.{place + 1}.{key}"][:, None] for key in ("running_mean", "running_var")}
        scale, shift = (state[f"{name}.{place + 1}.{key}"][:, None] for key in ("weight", "bias"))
        return ((convolved - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * scale + shift).clamp(min=0)

    values = rectified(rectified(scans, "stem", 0), "stem", 3)
    values = (values[:, :, ::2] + values[:, :, 1::2]) / 2
    for block in ("block1", "block2"):
        values = values + rectified(rectified(values, f"{block}.body", 0), f"{block}.body", 3)
    expected = values.mean(2) @ state["head.3.weight"].T + state["head.3.bias"]
    torch.testing.assert_close(network(scans), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lrp", "deeplift", "gradcam", "deconvolution", "guided_backprop", "occlusion"])
def test_methods_that_read_the_graph_explain_it(method: str) -> None:
    network = small()
    scans = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(2))
    maps = attribute(method, network, scans, 0)
    assert maps.shape[0] == 2
    assert maps.shape[2:] == (24,)
    assert torch.isfinite(torch.as_tensor(maps)).all()


def test_deeplift_is_complete_over_the_sums() -> None:
    network = small()
    scans = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(2))
    maps = torch.as_tensor(attribute("deeplift", network, scans, 0))
    rise = (network(scans) - network(torch.zeros_like(scans)))[:, 0]
    torch.testing.assert_close(maps.sum((1, 2)), rise.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"width": 0}, "width"), ({"kernel": 0}, "kernel"), ({"pool": 0}, "pool"), ({"pool": 25}, "at least 25")],
)
def test_a_network_that_cannot_be_built_says_why(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small(**changes)
