"""Questions of the stage `probe` that perturb the most relevant points, or waves, of a signal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.faithfulness import (
    PerturbationCurves,
    corrected_curves,
    published_curves,
    relative_change,
    wave_curves,
)
from heatproof.stages.scenes import Answer, Facts, Network, Scene

# Points of a curve of waves, whose own points differ from map to map.
WAVE_POINTS = 21
NOT_MEASURED = "the number that the network estimates is not known"


def perturbation(
    scene: Scene, network: Network, image: np.ndarray, maps: np.ndarray, seed: int, facts: Facts
) -> Iterator[Answer]:
    """Yield the perturbation metric as published and in every corrected setting of the configuration.

    Raises
    ------
    ConfigError
        If the network answers with a class.
    """
    if network.target_sd is None:
        raise ConfigError(
            "the perturbation metric follows a number, and the network answers with a class.",
            field="probes.metrics",
            remedy="leave out perturbation, or give the model an output.",
        )
    yield from _published(scene, network, image, maps, seed, facts)
    own = scene.spec["perturbation"]
    n_places = int(scene.mask.sum())
    most = {f"{n} points": min(int(n), n_places) for n in own["points"]}
    most |= {f"{100 * share:g} %": max(1, round(share * n_places)) for share in own["shares"]}
    for fill in own["fills"]:
        curves = corrected_curves(
            image, maps, network.logits, fill=fill, most=sorted(set(most.values())), n_draws=own["n_draws"],
            noise_level=own["noise_level"], mask=scene.mask, leads=scene.leads, seed=seed,
            batch_size=scene.batch_size,
        )  # fmt: skip
        longest = max(most, key=lambda name: most[name])
        for name, n_points in most.items():
            drawn = (curves.points / n_places, curves.changes) if name == longest else None
            yield Answer("perturbation", f"corrected {fill} {name}", curves.height(n_points), curve=drawn)
    if facts.labels is not None and (facts.labels[scene.mask] != 0).any():
        yield from _waves(scene, network, image, maps, seed, facts.labels)


def turbe(
    scene: Scene, network: Network, image: np.ndarray, zero: np.ndarray, maps: np.ndarray, target: int, seed: int
) -> Iterator[Answer]:
    """Yield the relative change under both orders of removal, and the two brought together, for every fill."""
    own = scene.spec["removal"]
    values = network.target_sd is not None
    for fill in own["fills"]:
        found = relative_change(
            image, maps, network.logits if values else network.predict, target, values=values, fill=fill,
            shares=own["shares"], mask=scene.mask, seed=seed, batch_size=scene.batch_size, leads=scene.leads,
            reference={"zero": zero, "control_mean": scene.reference}.get(fill),
        )  # fmt: skip
        yield Answer("turbe_top", fill, found.top, found.excluded)
        yield Answer("turbe_bottom", fill, found.bottom, found.excluded)
        yield Answer("turbe_f", fill, found.f, found.excluded)


def _published(
    scene: Scene, network: Network, image: np.ndarray, maps: np.ndarray, seed: int, facts: Facts
) -> Iterator[Answer]:
    own = scene.spec["perturbation"]
    unit = float(network.target_sd or 1.0)
    last = max(own["published_points"], default=0)
    if not last:
        return
    if not np.isfinite(facts.measured):
        for n_points in own["published_points"]:
            yield Answer("perturbation", f"published {n_points}", np.full(len(maps), np.nan), NOT_MEASURED)
        return
    curves = published_curves(
        image, maps, lambda batch: network.logits(batch) * unit, facts.measured, n_points=last,
        noise_level=own["noise_level"], mask=scene.mask, keys=facts.names or None, seed=seed,
        batch_size=scene.batch_size,
    )  # fmt: skip
    for n_points in own["published_points"]:
        drawn = (curves.points, curves.changes) if n_points == last else None
        yield Answer("perturbation", f"published {n_points}", curves.area(n_points), curve=drawn)


def _waves(
    scene: Scene, network: Network, image: np.ndarray, maps: np.ndarray, seed: int, labels: np.ndarray
) -> Iterator[Answer]:
    own = scene.spec["perturbation"]
    most = float(own["wave_share"])
    for rank in own["wave_ranks"]:
        curves = wave_curves(
            image, maps, network.logits, labels, rank=rank, most=most, mask=scene.mask, seed=seed,
            batch_size=scene.batch_size,
        )  # fmt: skip
        yield Answer(
            "perturbation", f"corrected waves by {rank}", curves.height(most), curve=_on_one_axis(curves, most)
        )


def _on_one_axis(curves: PerturbationCurves, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Return curves whose points differ from map to map at the same points."""
    points = np.linspace(0, most, WAVE_POINTS)
    heights = [np.interp(points, x, y) for x, y in zip(curves.points, curves.changes, strict=True)]
    return points, np.stack(heights)
