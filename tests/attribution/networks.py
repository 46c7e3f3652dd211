"""Small networks that look trained: random weights, biases and running statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMALISATION = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAXIMUM = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
SIZE = {1: (12,), 2: (12, 11), 3: (6, 7, 6)}
# Methods that show what was fitted to one network; the tests in `simulators` say what they promise.
FITTED = ("simulator",)


def seasoned(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network in double precision with every weight and running statistic drawn from a seed."""
    stream = torch.Generator().manual_seed(seed)
    model = model.double()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=stream, dtype=tensor.dtype)
            fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
            tensor.data = noise.abs() + 0.5 if name.endswith("running_var") else noise / fan**0.5
    return model.eval()


def convolutional(n_axes: int, *, inplace: bool = False, normalise: bool = True) -> nn.Module:
    """Return conv - norm - ReLU - max - conv - ReLU - average - linear - ReLU - linear over some axes."""
    first = CONVOLUTION[n_axes](2, 4, 3, padding=1)
    layers = [first, NORMALISATION[n_axes](4)] if normalise else [first]
    layers += [nn.ReLU(inplace), MAXIMUM[n_axes](2), CONVOLUTION[n_axes](4, 5, 2), nn.ReLU(inplace)]
    layers += [
        AVERAGE[n_axes](2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.LazyLinear(6),
        nn.ReLU(inplace),
        nn.Linear(6, 3),
    ]
    model = nn.Sequential(*layers)
    model(torch.zeros(2, 2, *SIZE[n_axes]))
    return seasoned(model)


def lifted(plane: nn.Module) -> nn.Module:
    """Return the same network over a volume that is one voxel thin."""
    volume = copy.deepcopy(plane)
    for position, layer in enumerate(plane):
        if isinstance(layer, nn.Conv2d):
            kernel, padding = (1, *layer.kernel_size), (0, *layer.padding)
            twin = nn.Conv3d(layer.in_channels, layer.out_channels, kernel, padding=padding)
            twin.weight.data, twin.bias.data = layer.weight.data[:, :, None], layer.bias.data
            volume[position] = twin
        if isinstance(layer, nn.BatchNorm2d):
            volume[position] = nn.BatchNorm3d(layer.num_features).double().eval()
            volume[position].load_state_dict(layer.state_dict())
        if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
            volume[position] = {nn.MaxPool2d: nn.MaxPool3d, nn.AvgPool2d: nn.AvgPool3d}[type(layer)]((1, 2, 2))
    return volume.eval()


def scans(n_axes: int, n_scans: int = 3, channels: int = 2, seed: int = 1) -> torch.Tensor:
    """Return standard normal scans in double precision."""
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n_scans, channels, *SIZE[n_axes], generator=stream, dtype=torch.float64)
