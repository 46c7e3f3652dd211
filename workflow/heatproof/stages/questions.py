"""The questions of the stage `probe` about one scan: every metric and setting, for many maps at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from heatproof.metrics.faithfulness import f_fidelity, infidelity, removal_curves, road
from heatproof.metrics.information import InformationCurves, Setting, information_scores
from heatproof.randomness import integer_seed

# From a batch of scans (B, C, *space) to numbers (B, K).
Predict = Callable[[np.ndarray], np.ndarray]
MODES = {"deletion": "delete", "insertion": "insert"}


@dataclass(frozen=True)
class Network:
    """A network as the questions see it.

    Attributes
    ----------
    predict, logits : callable
        From (B, C, *space) to probabilities and to logits, (B, K).
    tuned : callable, optional
        Probabilities of the twin that was fine-tuned on masked scans (F-Fidelity).
    """

    predict: Predict
    logits: Predict
    tuned: Predict | None = None

    @classmethod
    def of(cls, module: nn.Module, tuned: nn.Module | None = None) -> Network:
        """Return a module in evaluation mode as a network that takes and gives arrays."""
        return cls(
            lambda batch: _forward(module, batch, softmax=True),
            lambda batch: _forward(module, batch, softmax=False),
            None if tuned is None else lambda batch: _forward(tuned, batch, softmax=True),
        )

    @classmethod
    def constant(cls, n_classes: int, answer: int) -> Network:
        """Return a network that gives every scan the same class with certainty: it can tell no map from another."""
        row = np.eye(n_classes, dtype=np.float32)[answer]

        def same(batch: np.ndarray) -> np.ndarray:
            return np.tile(row, (len(batch), 1))

        return cls(same, same, same)


@dataclass(frozen=True)
class Scene:
    """What all scans of a run share.

    Attributes
    ----------
    spec : mapping
        The `probes` section of the configuration.
    window : (float, float)
        Darkest and brightest normalised intensity of training scans.
    mask : ndarray of bool, shape (*space,)
        Where maps are ranked.
    seed : int
        Seed of the run; questions are further keyed by scan.
    settings : tuple of str
        Of the information curves.
    reference : ndarray, shape (C, *space), optional
        Mean control scan, for the fill of that name.
    """

    spec: Mapping[str, Any]
    window: tuple[float, float]
    mask: np.ndarray
    seed: int
    settings: tuple[str, ...] = ()
    reference: np.ndarray | None = None

    @property
    def batch_size(self) -> int:
        """Most inputs in one forward pass."""
        return int(self.spec["batch_size"])


@dataclass(frozen=True)
class Answer:
    """One metric in one setting for every map of a scan.

    Attributes
    ----------
    metric, setting : str
        What was asked, and how.
    values : ndarray, shape (M,)
        NaN for all maps where the scan is excluded.
    excluded : str
        Why the scan is excluded; empty where it is not.
    curve : (ndarray (n,), ndarray (M, n)), optional
        Information curve on its common axis.
    spreads : mapping of str to float, optional
        How far apart a constant network, ``right`` or ``wrong``, puts the maps, where the metric knows it itself.
    """

    metric: str
    setting: str
    values: np.ndarray
    excluded: str = ""
    curve: tuple[np.ndarray, np.ndarray] | None = None
    spreads: Mapping[str, float] | None = None


def ask(
    scene: Scene,
    network: Network,
    scan_id: str,
    image: np.ndarray,
    zero: np.ndarray,
    maps: np.ndarray,
    target: int,
    signed: np.ndarray | None = None,
) -> Iterator[Answer]:
    """Yield the answer to every question of the configuration about one scan.

    Parameters
    ----------
    scene : Scene
        What the scans share.
    network : Network
        Who is asked.
    scan_id : str
        Key of the random numbers.
    image, zero : ndarray, shape (C, *space)
        The normalised scan, and what the stored intensity zero is in it.
    maps : ndarray, shape (M, *space)
        The maps, as they are ranked.
    target : int
        The class that was explained.
    signed : ndarray, shape (M, *space), optional
        The maps with their sign, for infidelity: an absolute value foretells no change. The maps themselves by default.
    """
    wanted = scene.spec["metrics"]
    signed = maps if signed is None else signed
    seed = integer_seed(scene.seed, "questions", scan_id)
    if "aic" in wanted or "sic" in wanted:
        yield from _information(scene, network, image, maps, target, seed)
    if "insertion" in wanted or "deletion" in wanted:
        yield from _removal(scene, network, image, zero, maps, target, seed)
    if "road" in wanted:
        shares = scene.spec["removal"]["road_shares"]
        scores = road(image, maps, network.predict, target, shares=shares, mask=scene.mask, seed=seed,
                      batch_size=scene.batch_size)  # fmt: skip
        yield Answer("road_morf", "noisy linear", scores.morf)
        yield Answer("road_lerf", "noisy linear", scores.lerf)
        yield Answer("road", "noisy linear", scores.combined)
    if "infidelity" in wanted:
        yield from _infidelity(scene, network, image, signed, target, seed)
    if "f_fidelity" in wanted and network.tuned is not None:
        yield from _f_fidelity(scene, network.tuned, image, maps, target, seed)


def constant_spreads(
    scene: Scene, scan_id: str, image: np.ndarray, zero: np.ndarray, maps: np.ndarray, target: int, n_classes: int
) -> Iterator[tuple[str, str, str, float]]:
    """Yield (metric, setting, constant, spread): how far apart a constant network puts the maps of a scan.

    A network that answers the same to every image knows nothing of any map, so a spread above rounding shows a metric
    that ranks the geometry of maps. NaN where the metric excludes the scan.
    """
    # Information curves bring their own spreads (`Answer.spreads`), from before any scan is left out.
    others = [metric for metric in scene.spec["metrics"] if metric not in ("aic", "sic")]
    scene = replace(scene, spec={**scene.spec, "metrics": others})
    for constant, answer in (("right", target), ("wrong", (target + 1) % n_classes)):
        network = Network.constant(n_classes, answer)
        for one in ask(scene, network, scan_id, image, zero, maps, target):
            finite = one.values[np.isfinite(one.values)]
            yield one.metric, one.setting, constant, float(np.ptp(finite)) if finite.size else float("nan")


def _information(
    scene: Scene, network: Network, image: np.ndarray, maps: np.ndarray, target: int, seed: int
) -> Iterator[Answer]:
    settings = [Setting.of(name) for name in scene.settings]

    def curves(shown: np.ndarray, wanted: list[Setting], thresholds: list[float] | None) -> list[InformationCurves]:
        return information_scores(
            image, shown, network.predict, target, wanted, thresholds=thresholds, seed=seed, window=scene.window,
            mask=scene.mask, batch_size=scene.batch_size,
        )  # fmt: skip

    # Whether a scan is left out depends on the network and the scan alone, so one map and one share tell it.
    first = dict(zip(settings, curves(maps[:1], settings, [0.5]), strict=True))
    left_out = [setting for setting, one in first.items() if one.aic_excluded and one.sic_excluded]
    for setting in left_out:
        yield from _left_out(scene, setting.name, first[setting], len(maps))
    asked = [setting for setting in settings if setting not in left_out]
    if asked:
        found = curves(maps, asked, scene.spec["information"]["thresholds"])
        for setting, curve in zip(asked, found, strict=True):
            yield from _curve_answers(scene, setting.name, curve)


def _left_out(scene: Scene, name: str, curve: InformationCurves, n_maps: int) -> Iterator[Answer]:
    for metric, reason in (("aic", curve.aic_excluded), ("sic", curve.sic_excluded)):
        if metric in scene.spec["metrics"]:
            yield Answer(metric, name, np.full(n_maps, np.nan), reason)


def _curve_answers(scene: Scene, name: str, curve: InformationCurves) -> Iterator[Answer]:
    spreads = curve.constant_spread()
    for metric, values, ys, excluded in (
        ("aic", curve.aic_auc, curve.aic, curve.aic_excluded),
        ("sic", curve.sic_auc, curve.sic, curve.sic_excluded),
    ):
        if metric in scene.spec["metrics"]:
            drawn = None if excluded else (curve.x, ys)
            told_apart = {constant: found[metric] for constant, found in spreads.items()}
            yield Answer(metric, name, values, excluded, drawn, told_apart)


def _removal(
    scene: Scene, network: Network, image: np.ndarray, zero: np.ndarray, maps: np.ndarray, target: int, seed: int
) -> Iterator[Answer]:
    spec = scene.spec["removal"]
    for metric, mode in MODES.items():
        if metric not in scene.spec["metrics"]:
            continue
        for fill in spec["fills"]:
            curves = removal_curves(
                image, maps, network.predict, target, order="most_relevant_first", fill=fill, shares=spec["shares"],
                mode=mode, mask=scene.mask, seed=seed, batch_size=scene.batch_size,
                reference={"zero": zero, "control_mean": scene.reference}.get(fill),
            )  # fmt: skip
            yield Answer(metric, fill, curves.auc)


def _infidelity(
    scene: Scene, network: Network, image: np.ndarray, signed: np.ndarray, target: int, seed: int
) -> Iterator[Answer]:
    """Ask in both ways of the paper: noise suits maps that are slopes, holes suit maps that are contributions."""
    own = scene.spec["infidelity"]
    edge = max(1, round(own["edge_share"] * min(image.shape[1:])))
    ways: dict[str, dict[str, Any]] = {
        "gaussian": {"scale": own["scale"] * float(image.std())},
        "square": {"scale": edge, "contributions": True},
    }
    for setting, way in ways.items():
        values = infidelity(
            image, signed, network.logits, target, n_samples=own["n_samples"], perturbation=setting, seed=seed,
            batch_size=scene.batch_size, **way,
        )  # fmt: skip
        yield Answer("infidelity", setting, values)


def _f_fidelity(
    scene: Scene, tuned: Predict, image: np.ndarray, maps: np.ndarray, target: int, seed: int
) -> Iterator[Answer]:
    own = scene.spec["f_fidelity"]
    plus, minus = f_fidelity(
        image, maps, tuned, target, beta=own["beta"], n_samples=own["n_samples"], seed=seed, mask=scene.mask,
        batch_size=scene.batch_size,
    )  # fmt: skip
    yield Answer("f_fidelity_plus", "", plus)
    yield Answer("f_fidelity_minus", "", minus)
    yield Answer("f_fidelity", "", plus - minus)


def _forward(module: nn.Module, batch: np.ndarray, *, softmax: bool) -> np.ndarray:
    device = next(iter(module.state_dict().values())).device
    with torch.inference_mode():
        logits = module(torch.as_tensor(np.ascontiguousarray(batch, np.float32), device=device)).float()
        return (logits.softmax(1) if softmax else logits).cpu().numpy()
