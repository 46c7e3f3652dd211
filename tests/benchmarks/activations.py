"""CPU time of the class-activation methods that need more than one pass, beside other libraries.

    python tests/benchmarks/activations.py --scans 1 --repeats 3

One thread, one process, contestants by turns, best of the repeats: the ratio of CPU times survives a busy machine.
The headline compares with the batch size that is fastest for a peer among those tried; 32 is the default of both
libraries. pytorch-grad-cam's AblationCAM fails in 3-D; in its place stands what it does, one pass of the whole network
per channel, and the library itself in 2-D. Its EigenCAM decomposes voxels x voxels, so that its time depends on the
layer: 24 x 28 x 24 voxels in the second block, 12 x 14 x 12 in the third, 6 x 7 x 6 in the last.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

LAYERS = {
    2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d),
}
SHAPES = {2: (224, 224), 3: (48, 56, 48)}
RECTIFIERS = (6, 10, 14)  # of the last three blocks
LAST = RECTIFIERS[-1]
SIZES = (1, 4, 32)
Call = Callable[[], torch.Tensor]


def network(n_axes: int) -> nn.Module:
    """Return four blocks of 8, 16, 32 and 64 channels, always with the same weights, and positive logits."""
    convolution, normalisation, maximum, average = LAYERS[n_axes]
    torch.manual_seed(0)
    layers, channels = [], 1
    for width in (8, 16, 32, 64):
        layers += [convolution(channels, width, 3, padding=1), normalisation(width), nn.ReLU(), maximum(2)]
        channels = width
    model = nn.Sequential(*layers, average(1), nn.Flatten(), nn.Linear(64, 2)).eval()
    model[-1].bias.data += 5
    return model


def ours(name: str, model: nn.Module, scans: torch.Tensor, layer: int = LAST) -> Call:
    """Return a call of one of our methods."""
    from heatproof.attribution import attribute

    return lambda: attribute(name, model, scans, 1, layer=str(layer))


def torchcam_score(model: nn.Module, scans: torch.Tensor, batch_size: int) -> Call:
    """Return a call of torch-cam's ScoreCAM."""
    from torchcam.methods import ScoreCAM

    def call() -> torch.Tensor:
        shape = tuple(scans.shape[1:])
        with torch.no_grad(), ScoreCAM(model, str(LAST), batch_size=batch_size, input_shape=shape) as extractor:
            model(scans)
            return extractor(1)[0]

    return call


def grad_cam(name: str, model: nn.Module, scans: torch.Tensor, layer: int = LAST, **options: int) -> Call:
    """Return a call of a method of pytorch-grad-cam, without its progress bars."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call() -> torch.Tensor:
        with (
            contextlib.redirect_stderr(io.StringIO()),
            getattr(pytorch_grad_cam, name)(model, [model[layer]], **options) as extractor,
        ):
            return torch.from_numpy(extractor(scans, [ClassifierOutputTarget(1)] * len(scans)))

    return call


def whole_passes(model: nn.Module, scans: torch.Tensor, batch_size: int) -> Call:
    """Return Ablation-CAM's weights with one pass of the whole network per channel."""

    def call() -> torch.Tensor:
        weights = []
        with torch.no_grad():
            complete = model(scans)[:, 1]
            for scan, score in zip(scans, complete, strict=True):
                lost = []
                for channels in torch.arange(64).split(batch_size):
                    handle = model[LAST].register_forward_hook(without(channels))
                    lost.append(score - model(scan.expand(len(channels), *scan.shape))[:, 1])
                    handle.remove()
                weights.append(torch.cat(lost) / score)
        return torch.stack(weights)

    return call


def without(channels: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return a hook that sets another channel to zero in each output of a batch."""

    def hook(_module: nn.Module, _arguments: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[torch.arange(len(channels)), channels] = 0
        return output

    return hook


def compare(title: str, mine: Call, peers: dict[str, Call], repeats: int) -> None:
    """Time all by turns and print the ratio of the fastest peer to ours."""
    best: dict[str, float] = {}
    for _ in range(repeats + 1):  # the first turn compiles the kernels
        for name, call in {"ours": mine, **peers}.items():
            begin = time.process_time()
            call()
            best[name] = min(best.get(name, float("inf")), time.process_time() - begin) if name in best else 1e9
    peer = min(peers, key=lambda name: best[name])
    print(f"{title}: {best[peer] / best['ours']:.1f} ({peer} {best[peer]:.3f} s, ours {best['ours']:.4f} s)")
    print("    all: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in best.items()))


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, scans = network(3), torch.rand(options.scans, 1, *SHAPES[3])
    print(f"{options.scans} scans, CPU time of one thread, peer / ours")
    with threadpool_limits(1):
        passes = {f"whole passes, {size} at once": whole_passes(model, scans, size) for size in SIZES}
        compare("ablationcam 3-D", ours("ablationcam", model, scans), passes, options.repeats)
        for library, comparison in (("torchcam", with_torchcam), ("grad-cam", with_grad_cam)):
            try:
                comparison(version(library), options.scans, options.repeats)
            except ImportError as error:
                print(f"{library} is not installed: {error}")


def with_torchcam(release: str, n_scans: int, repeats: int) -> None:
    """Compare with torch-cam."""
    model, scans = network(3), torch.rand(n_scans, 1, *SHAPES[3])
    peers = {f"torchcam {release}, {size} at once": torchcam_score(model, scans, size) for size in SIZES}
    compare("scorecam 3-D", ours("scorecam", model, scans), peers, repeats)


def with_grad_cam(release: str, n_scans: int, repeats: int) -> None:
    """Compare with pytorch-grad-cam."""
    model, scans = network(3), torch.rand(n_scans, 1, *SHAPES[3])
    for layer in RECTIFIERS:
        peers = {f"grad-cam {release}": grad_cam("EigenCAM", model, scans, layer)}
        compare(f"eigencam 3-D, layer {layer}", ours("eigencam", model, scans, layer), peers, repeats)
    model, scans = network(2), torch.rand(n_scans, 1, *SHAPES[2])
    peers = {
        f"grad-cam {release}, {size} at once": grad_cam("AblationCAM", model, scans, batch_size=size) for size in SIZES
    }
    compare("ablationcam 2-D", ours("ablationcam", model, scans), peers, repeats)


if __name__ == "__main__":
    main()
