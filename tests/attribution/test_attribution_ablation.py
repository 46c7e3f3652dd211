"""Ablation-CAM runs only what comes after the layer again, and says the same as the whole network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from attribution.evidence.activation_oracles import lively
from attribution.networks import scans, seasoned
from heatproof.attribution import attribute


class Block(nn.Module):
    """A stem and two convolutions, put together by the forward passes below."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = (nn.Conv2d(2 + each, 3 + each, 3, padding=1) for each in range(3))
        self.shortcut, self.act = nn.Conv2d(3, 5, 1), nn.ReLU()
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.finish(self.act(self.second(self.act(self.first(self.act(self.stem(x)))))))

    def finish(self, x):
        return self.head(functional.softplus(x).mean((2, 3)))


class Shortcut(Block):
    def forward(self, x):
        x = self.act(self.stem(x))
        out = self.second(self.act(self.first(x)))
        out += self.shortcut(x)
        return self.finish(functional.relu(out, inplace=True))


class SizeOfTheScan(Block):
    def forward(self, x):
        n_scans = x.size(0)
        x = self.second(self.act(self.first(self.act(self.stem(x)))))
        return self.finish(x.view(n_scans, 5, -1, 1))


class Parts(Block):
    """Keeps a tuple of values from before the layer."""

    def forward(self, x):
        parts = self.act(self.stem(x)).split(1, 1)
        x = self.second(self.act(self.first(torch.cat(parts, 1))))
        return self.finish(self.act(x) * parts[1])


class Branching(Block):
    def forward(self, x):
        return super().forward(x if (x == x).all() else -x)


class Overwriting(Block):
    """Writes the layer's output into a value that is read again."""

    def forward(self, x):
        x = self.act(self.stem(x))
        kept = self.shortcut(x)
        total = kept.add_(self.act(self.second(self.act(self.first(x)))))
        return self.finish(kept * 2 + total)  # the graph does not show that the product depends on the layer


class Replacing(Block):
    """As `Overwriting`, but so that another run with the same features gives the same output."""

    def forward(self, x):
        x = self.act(self.stem(x))
        kept = self.shortcut(x)
        total = kept.copy_(self.act(self.second(self.act(self.first(x)))))
        return self.finish(kept * 2 + total)


class Late(Block):
    """Reads a value after the layer, then overwrites it."""

    def forward(self, x):
        x = self.act(self.stem(x))
        kept = self.shortcut(x)
        out = self.act(self.second(self.act(self.first(x)))) * kept
        kept.mul_(3.0)
        return self.finish(out + kept)


class Typed(Block):
    """Takes another way when it is traced."""

    def forward(self, x):
        x = super().forward(x)
        return x.sin() if isinstance(x, torch.Tensor) else x


def by_hooks(model: nn.Module, inputs: torch.Tensor, target: int, layer: str) -> torch.Tensor:
    """Return the ablation map, coarse as the layer, with one whole pass of the network per scan and channel."""
    seen, changed = [], []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, output: seen.append(output.clone()))
    complete = model(inputs)[:, target].detach()
    handle.remove()
    maps = torch.zeros_like(seen[0][:, 0])
    for scan in range(len(inputs)):
        for channel in range(seen[0].shape[1]):

            def drop(_module, _arguments, output, channel=channel):
                output = output.clone()
                output[:, channel] = 0
                return output

            handle = model.get_submodule(layer).register_forward_hook(drop)
            changed.append(float(model(inputs[scan : scan + 1])[0, target].detach()))
            handle.remove()
            weight = (complete[scan] - changed[-1]) / complete[scan].abs()
            maps[scan] += weight * seen[0][scan, channel]
    assert len(set(changed)) > len(inputs)
    return maps.relu().detach()[:, None]


def scans_through(
    model: nn.Module, inputs: torch.Tensor, layer: str, batch_size: int
) -> tuple[torch.Tensor, list[int]]:
    """Return the ablation map, and how many scans each pass led through the stem."""
    counted: list[int] = []
    handle = model.stem.register_forward_hook(lambda _m, _a, output: counted.append(len(output)))
    maps = attribute("ablationcam", model, inputs, 1, layer=layer, batch_size=batch_size)
    handle.remove()
    return maps, counted


def tried(network: type[Block]) -> int:
    """Return how many of the three scans went through the stem to find that the graph cannot be used."""
    return 3 if network in (Overwriting, Replacing, Late) else 0


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("layer", ["second", "first", "stem"])
@pytest.mark.parametrize(
    ("network", "passes"),
    [
        (Block, "one"),
        (Shortcut, "two"),
        (SizeOfTheScan, "two"),
        (Parts, "two"),
        (Branching, "all"),
        (Overwriting, "all"),
        (Replacing, "all"),
        (Late, "all"),
        (Typed, "all"),
    ],
)
def test_only_the_network_after_the_layer_runs_again(network, passes, layer, batch_size):
    model, inputs = seasoned(network(), seed=1), scans(2)
    expected = by_hooks(model, inputs, 1, layer)
    found, counted = scans_through(model, inputs, layer, batch_size)
    torch.testing.assert_close(found, expected)
    assert found.any()
    if layer == "stem":
        return
    whole = 1 + model.get_submodule(layer).out_channels
    assert sum(counted) - tried(network) == len(inputs) * {"one": 1, "two": 2, "all": whole}[passes]
    assert max(counted) <= batch_size


def test_what_follows_the_layer_in_place_leaves_its_features_alone():
    class Written(Block):
        def forward(self, x):
            x = self.second(self.act(self.first(self.act(self.stem(x)))))
            return self.finish(functional.relu(x, inplace=True))

    class Plain(Block):
        def forward(self, x):
            x = self.second(self.act(self.first(self.act(self.stem(x)))))
            return self.finish(functional.relu(x))

    inputs = scans(2)
    written, plain = (attribute("ablationcam", seasoned(kind()), inputs, 1) for kind in (Written, Plain))
    torch.testing.assert_close(written, plain)
    assert (plain > 0).any()


def test_memory_that_does_not_suffice_is_not_taken_for_a_missing_graph():
    """The batch is halved instead, by the caller."""

    largest: list[int] = []
    model, inputs = nn.Sequential(*lively(2)[:3], nn.Identity(), *lively(2)[3:]), scans(2)
    plain = attribute("ablationcam", model, inputs, 1, layer="2", batch_size=1)

    def check(_module, arguments, _output):
        largest.append(len(arguments[0]))
        if largest[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")

    model[3].register_forward_hook(check)
    torch.testing.assert_close(attribute("ablationcam", model, inputs, 1, layer="2", batch_size=32), plain)
    assert max(largest) > 2 >= largest[-1]
