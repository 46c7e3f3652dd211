"""ResNet and DenseNet from MONAI, in one to three dimensions, made safe for attribution.

MONAI uses one in-place ReLU several times and adds residuals in place. Both break methods that hook a ReLU
or follow relevance layer by layer, so the networks are traced once and rewritten: every activation becomes
a module of its own, every addition makes a new tensor, and reshapes become modules. The computation and the
names of the weights stay the same.
"""

from __future__ import annotations

import operator

import torch
from torch import nn

from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.models.convolutions import share_of, too_small
from heatproof.models.registry import register

# Voxels along an axis of which the fourth dense block still gets one.
LEAST_OF_DENSENET121 = 29


@register("resnet", "He et al. (2016). CVPR 770-778; Hara et al. (2018). CVPR 6546-6555; MONAI")
def resnet(
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width: int = 8,
    layers: tuple[int, ...] = (1, 1, 1, 1),
    stem_kernel: int = 7,
    stem_stride: int = 2,
) -> nn.Module:
    """Return a residual network of basic blocks.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input; only their number matters.
    width : int
        Channels of the first stage; every later stage has twice as many (64 in the publication).
    layers : tuple of int, length 4
        Blocks in each stage: (1, 1, 1, 1) is ResNet-10, (2, 2, 2, 2) ResNet-18, (3, 4, 6, 3) ResNet-34.
    stem_kernel, stem_stride : int
        Kernel and step of the first convolution, in voxels.
    """
    from monai.networks.nets import ResNet

    if len(layers) != 4:
        raise ConfigError("a resnet has four stages.", field="layers", remedy="give four numbers of blocks.")
    network = ResNet(
        block="basic",
        layers=list(layers),
        block_inplanes=[width * 2**stage for stage in range(4)],
        spatial_dims=len(shape),
        n_input_channels=in_channels,
        conv1_t_size=stem_kernel,
        conv1_t_stride=stem_stride,
        num_classes=n_classes,
    )
    return traceable(network)


@register("densenet", "Huang et al. (2017). CVPR 4700-4708; MONAI")
def densenet(
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width: int = 16,
    growth: int = 8,
    layers: tuple[int, ...] = (2, 2, 2),
    dropout: float = 0.0,
) -> nn.Module:
    """Return a densely connected network.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input.
    width : int
        Channels after the first convolution (64 in the publication).
    growth : int
        Channels that each layer adds (32 in the publication).
    layers : tuple of int
        Layers in each dense block: (6, 12, 24, 16) is DenseNet-121. The grid is halved
        between blocks.
    dropout : float
        Share of features dropped in training.
    """
    from monai.networks.nets import DenseNet

    space = tuple((((length + 1) // 2) + 1) // 2 for length in shape)
    deepest = min(length.bit_length() for length in space)
    if len(layers) > deepest:
        raise ConfigError(
            f"the network 'densenet' cannot take a grid of {' x '.join(map(str, shape))}: "
            f"nothing is left before block {deepest + 1}.",
            field="layers",
            remedy=f"use at most {deepest} dense blocks, another network, or a finer grid.",
        )
    network = DenseNet(
        spatial_dims=len(shape),
        in_channels=in_channels,
        out_channels=n_classes,
        init_features=width,
        growth_rate=growth,
        block_config=tuple(layers),
        dropout_prob=dropout,
    )
    return traceable(network)


@register("densenet121", "Huang et al. (2017). CVPR 4700-4708; MONAI")
def densenet121(
    *, in_channels: int, n_classes: int, shape: tuple[int, ...], width_share: float = 1.0, dropout: float = 0.0
) -> nn.Module:
    """Return DenseNet-121: `densenet` with the published layers.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input, 29 voxels or more each.
    width_share : float
        Channels of every layer as a share of the published ones.
    dropout : float
        Share of features dropped in training (published: 0).

    Raises
    ------
    ConfigError
        If the grid is too small.
    """
    if min(shape) < LEAST_OF_DENSENET121:
        raise too_small("densenet121", shape, LEAST_OF_DENSENET121)
    return densenet(
        in_channels=in_channels,
        n_classes=n_classes,
        shape=shape,
        width=share_of(64, width_share),
        growth=share_of(32, width_share),
        layers=(6, 12, 24, 16),
        dropout=dropout,
    )


def traceable(network: nn.Module) -> torch.fx.GraphModule:
    """Return the same network with single-use activations, additions out of place and reshapes as modules.

    Raises
    ------
    UnsupportedModelError
        A module other than `nn.ReLU` is called more than once: a second copy would have weights of its own.
    """
    traced = torch.fx.symbolic_trace(network)
    graph, used = traced.graph, set()
    for node in list(graph.nodes):
        if node.op == "call_module":
            if node.target in used:
                reused = type(traced.get_submodule(node.target))
                if reused is not nn.ReLU:
                    raise UnsupportedModelError(
                        f"a {reused.__name__} is called more than once in one pass.",
                        field=str(node.target),
                        remedy="give every call a module of its own.",
                    )
                node.target = _add_module(traced, node.name, nn.ReLU())
            used.add(node.target)
        elif node.op == "call_function" and node.target is operator.iadd:
            node.target = operator.add
        elif node.op == "call_method" and node.target == "view":
            with graph.inserting_before(node):
                flat = graph.call_module(_add_module(traced, "flatten", nn.Flatten()), (node.args[0],))
            node.replace_all_uses_with(flat)
            graph.erase_node(node)
    for module in traced.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    graph.eliminate_dead_code()
    graph.lint()
    traced.recompile()
    return traced


def _add_module(network: torch.fx.GraphModule, name: str, module: nn.Module) -> str:
    network.add_submodule(name, module)
    return name
