"""Oracles: the forward passes of Keras' applications on images, written out with functions, weights in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional


class Weights:
    """Hands out a network's weights in their order."""

    def __init__(self, network: nn.Module, epsilon: float) -> None:
        kept = [tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")]
        self.tensors: Iterator[Tensor] = iter(kept)
        self.epsilon = epsilon

    def conv(self, x: Tensor, stride: int = 1, *, valid: bool = False, bias: bool = False, groups: int = 1) -> Tensor:
        weight = next(self.tensors)
        shift = next(self.tensors) if bias else None
        margins = [0 if valid else length // 2 for length in weight.shape[2:]]
        return functional.conv2d(x, weight, shift, stride, margins, 1, groups)

    def norm(self, x: Tensor) -> Tensor:
        weight, bias, mean, variance = (next(self.tensors)[:, None, None] for _ in range(4))
        return (x - mean) / (variance + self.epsilon).sqrt() * weight + bias

    def unit(self, x: Tensor, stride: int = 1, **how: bool) -> Tensor:
        return self.norm(self.conv(x, stride, **how)).relu()

    def chain(self, x: Tensor, length: int, *, halves: bool = False) -> Tensor:
        for index in range(length):
            last = halves and index == length - 1
            x = self.unit(x, 2 if last else 1, valid=last)
        return x

    def separable(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.conv(x, groups=x.shape[1])))

    def head(self, x: Tensor) -> Tensor:
        weight, bias = self.tensors
        return x.mean((2, 3)) @ weight.T + bias


def pool(x: Tensor, *, valid: bool = False) -> Tensor:
    margin = 0 if valid else 1
    return functional.max_pool2d(x, 3, 2, margin)


def smooth(x: Tensor) -> Tensor:
    kernel = torch.ones(1, 1, 3, 3)
    inside = functional.conv2d(torch.ones_like(x[:1, :1]), kernel, padding=1)
    return functional.conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1]) / inside


def resnet50(network: nn.Module, x: Tensor) -> Tensor:
    w = Weights(network, 1.001e-5)
    x = pool(w.unit(x, 2, bias=True))
    for stage, n_blocks in enumerate((3, 4, 6, 3)):
        for block in range(n_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = w.unit(w.unit(x, stride, bias=True), bias=True)
            y = w.norm(w.conv(y, bias=True))
            x = (y + (w.norm(w.conv(x, stride, bias=True)) if block == 0 else x)).relu()
    return w.head(x)


def resnet50_v2(network: nn.Module, x: Tensor) -> Tensor:
    w = Weights(network, 1.001e-5)
    x = pool(w.conv(x, 2, bias=True))
    for stage, n_blocks in enumerate((3, 4, 6, 3)):
        for block in range(n_blocks):
            stride = 2 if stage < 3 and block == n_blocks - 1 else 1
            before = w.norm(x).relu()
            y = w.conv(w.unit(w.unit(before), stride), bias=True)
            x = y + (w.conv(before, bias=True) if block == 0 else x[:, :, ::stride, ::stride])
    return w.head(w.norm(x).relu())


def xception(network: nn.Module, x: Tensor) -> Tensor:
    w = Weights(network, 1e-3)
    x = w.unit(w.unit(x, 2, valid=True), valid=True)
    for block in range(12):
        if block in (0, 1, 2, 11):
            y = w.separable(x if block == 0 else x.relu())
            y = pool(w.separable(y.relu()))
            x = y + w.norm(w.conv(x, 2))
        else:
            x = x + w.separable(w.separable(w.separable(x.relu()).relu()).relu())
    return w.head(w.separable(w.separable(x).relu()).relu())


def efficientnet_b0(network: nn.Module, x: Tensor) -> Tensor:
    w = Weights(network, 1e-3)

    def swish(y: Tensor) -> Tensor:
        return y * y.sigmoid()

    x = swish(w.norm(w.conv(x, 2)))
    for stage, (n_blocks, stride) in enumerate(((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))):
        for block in range(n_blocks):
            y = swish(w.norm(w.conv(x))) if stage > 0 else x
            y = swish(w.norm(w.conv(y, stride if block == 0 else 1, groups=y.shape[1])))
            gate = swish(w.conv(y.mean((2, 3), keepdim=True), bias=True))
            y = w.norm(w.conv(y * w.conv(gate, bias=True).sigmoid()))
            # The first and the last stage may keep the channels of a narrow network, too.
            x = x + y if y.shape == x.shape and (block > 0 or stride == 1) else y
    return w.head(swish(w.norm(w.conv(x))))


def inception_stem(w: Weights, x: Tensor) -> Tensor:
    x = w.unit(w.unit(w.unit(x, 2, valid=True), valid=True))
    x = w.unit(pool(x, valid=True))
    return pool(w.unit(x, valid=True), valid=True)


def inception_v3(network: nn.Module, x: Tensor) -> Tensor:
    w = Weights(network, 1e-3)
    x = inception_stem(w, x)
    for _ in range(3):
        x = torch.cat([w.chain(x, 1), w.chain(x, 2), w.chain(x, 3), w.chain(smooth(x), 1)], 1)
    x = torch.cat([w.chain(x, 1, halves=True), w.chain(x, 3, halves=True), pool(x, valid=True)], 1)
    for _ in range(4):
        x = torch.cat([w.chain(x, 1), w.chain(x, 3), w.chain(x, 5), w.chain(smooth(x), 1)], 1)
    x = torch.cat([w.chain(x, 2, halves=True), w.chain(x, 4, halves=True), pool(x, valid=True)], 1)
    for _ in range(2):
        parts = [w.chain(x, 1)]
        for length in (1, 2):
            y = w.chain(x, length)
            parts += [w.chain(y, 1), w.chain(y, 1)]
        x = torch.cat([*parts, w.chain(smooth(x), 1)], 1)
    return w.head(x)


def inception_resnet_v2(network: nn.Module, x: Tensor) -> Tensor:
    w = Weights(network, 1e-3)

    def residual(x: Tensor, lengths: tuple[int, ...], scale: float) -> Tensor:
        return x + scale * w.conv(torch.cat([w.chain(x, length) for length in lengths], 1), bias=True)

    x = inception_stem(w, x)
    x = torch.cat([w.chain(x, 1), w.chain(x, 2), w.chain(x, 3), w.chain(smooth(x), 1)], 1)
    for _ in range(10):
        x = residual(x, (1, 2, 3), 0.17).relu()
    x = torch.cat([w.chain(x, 1, halves=True), w.chain(x, 3, halves=True), pool(x, valid=True)], 1)
    for _ in range(20):
        x = residual(x, (1, 3), 0.1).relu()
    x = torch.cat([*(w.chain(x, length, halves=True) for length in (2, 2, 3)), pool(x, valid=True)], 1)
    for _ in range(9):
        x = residual(x, (1, 3), 0.2).relu()
    return w.head(w.chain(residual(x, (1, 3), 1.0), 1))


def vgg(network: nn.Module, x: Tensor, layers: tuple[int, ...]) -> Tensor:
    w = Weights(network, 0.0)
    for n_layers in layers:
        for _ in range(n_layers):
            x = w.conv(x, bias=True).relu()
        x = functional.max_pool2d(x, 2)
    return w.head(x)


ORACLES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "vgg16": lambda network, x: vgg(network, x, (2, 2, 3, 3, 3)),
    "vgg19": lambda network, x: vgg(network, x, (2, 2, 4, 4, 4)),
    "resnet50": resnet50,
    "resnet50_v2": resnet50_v2,
    "inception_v3": inception_v3,
    "inception_resnet_v2": inception_resnet_v2,
    "xception": xception,
    "efficientnet_b0": efficientnet_b0,
}
