"""The questions of the stage `probe` about one scan: every metric and setting, for many maps at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from heatproof.metrics.faithfulness import f_fidelity, infidelity, removal_curves, road
from heatproof.metrics.information import InformationCurves, Setting, information_scores
from heatproof.randomness import integer_seed
from heatproof.stages.perturbing import perturbation, turbe
from heatproof.stages.scenes import Answer, Facts, Network, Predict, Scene

__all__ = ["Answer", "Facts", "Network", "Scene", "ask", "constant_spreads"]

MODES = {"deletion": "delete", "insertion": "insert"}
NOTHING_KNOWN = Facts()


def ask(
    scene: Scene,
    network: Network,
    scan_id: str,
    image: np.ndarray,
    zero: np.ndarray,
    maps: np.ndarray,
    target: int,
    signed: np.ndarray | None = None,
    facts: Facts = NOTHING_KNOWN,
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
    facts : Facts
        What else is known of the scan.
    """
    wanted = scene.spec["metrics"]
    signed = maps if signed is None else signed
    network = network.about(image)
    seed = integer_seed(scene.seed, "questions", scan_id)
    if "aic" in wanted or "sic" in wanted:
        yield from _information(scene, network, image, maps, target, seed)
    if "insertion" in wanted or "deletion" in wanted:
        yield from _removal(scene, network, image, zero, maps, target, seed)
    if "road" in wanted:
        shares = scene.spec["removal"]["road_shares"]
        scores = road(image, maps, network.predict, target, shares=shares, mask=scene.mask, seed=seed,
                      batch_size=scene.batch_size, leads=scene.leads)  # fmt: skip
        yield Answer("road_morf", "noisy linear", scores.morf)
        yield Answer("road_lerf", "noisy linear", scores.lerf)
        yield Answer("road", "noisy linear", scores.combined)
    if "infidelity" in wanted:
        yield from _infidelity(scene, network, image, signed, target, seed)
    if "f_fidelity" in wanted and network.tuned is not None:
        yield from _f_fidelity(scene, network.tuned, image, maps, target, seed, network.target_sd is not None)
    if "perturbation" in wanted:
        yield from perturbation(scene, network, image, maps, seed, facts)
    if "turbe" in wanted:
        yield from turbe(scene, network, image, zero, maps, target, seed)


def constant_spreads(
    scene: Scene,
    scan_id: str,
    image: np.ndarray,
    zero: np.ndarray,
    maps: np.ndarray,
    target: int,
    n_classes: int,
    *,
    facts: Facts = NOTHING_KNOWN,
    target_sd: float | None = None,
) -> Iterator[tuple[str, str, str, float]]:
    """Yield (metric, setting, constant, spread): how far apart a constant network puts the maps of a scan.

    A network that answers the same to every image knows nothing of any map, so a spread above rounding shows a metric
    that ranks the geometry of maps. NaN where the metric excludes the scan. A network that answers with a number (with
    a `target_sd`, see `Network`) has one constant, ``right``.
    """
    # Information curves bring their own spreads (`Answer.spreads`), from before any scan is left out.
    others = [metric for metric in scene.spec["metrics"] if metric not in ("aic", "sic")]
    scene = replace(scene, spec={**scene.spec, "metrics": others})
    constants = {"right": target, "wrong": (target + 1) % n_classes} if target_sd is None else {"right": 0}
    for constant, answer in constants.items():
        network = Network.constant(n_classes if target_sd is None else 1, answer, target_sd)
        for one in ask(scene, network, scan_id, image, zero, maps, target, facts=facts):
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
                mode=mode, mask=scene.mask, seed=seed, batch_size=scene.batch_size, leads=scene.leads,
                reference={"zero": zero, "control_mean": scene.reference}.get(fill),
            )  # fmt: skip
            yield Answer(metric, fill, curves.auc)


def _infidelity(
    scene: Scene, network: Network, image: np.ndarray, signed: np.ndarray, target: int, seed: int
) -> Iterator[Answer]:
    """Ask in both ways of the paper: noise suits maps that are slopes, holes suit maps that are contributions."""
    own = scene.spec["infidelity"]
    logits = network.logits
    if scene.leads:
        # A stretch is taken from all leads at once, which are channels again.
        image, logits = image[0], lambda batch: network.logits(batch[:, None])
    edge = max(1, round(own["edge_share"] * min(image.shape[1:])))
    ways: dict[str, dict[str, Any]] = {
        "gaussian": {"scale": own["scale"] * float(image.std())},
        "square": {"scale": edge, "contributions": True},
    }
    for setting, way in ways.items():
        values = infidelity(
            image, signed, logits, target, n_samples=own["n_samples"], perturbation=setting, seed=seed,
            batch_size=scene.batch_size, **way,
        )  # fmt: skip
        yield Answer("infidelity", setting, values)


def _f_fidelity(
    scene: Scene, tuned: Predict, image: np.ndarray, maps: np.ndarray, target: int, seed: int, values: bool
) -> Iterator[Answer]:
    own = scene.spec["f_fidelity"]
    plus, minus = f_fidelity(
        image, maps, tuned, target, beta=own["beta"], n_samples=own["n_samples"], seed=seed, mask=scene.mask,
        batch_size=scene.batch_size, score="probability" if values else "accuracy",
    )  # fmt: skip
    yield Answer("f_fidelity_plus", "", plus)
    yield Answer("f_fidelity_minus", "", minus)
    yield Answer("f_fidelity", "", plus - minus)
