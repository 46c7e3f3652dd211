"""Model parameter randomisation tests: a map that survives the loss of the weights was never about them.

Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018 (arXiv 1810.03292): re-draw the layers from the output
to the input and compare the maps with those of the trained network. The figure has to be read with care (Binder et
al., CVPR 2023, arXiv 2211.12486): lower layers keep the scan's structure, with trained or with random weights, so an
architecture sets a floor under the similarity, and a noisy map falls fastest without being better. So it is
shown beside the controls: `edges` stays at 1, `random_noise` too (it never looks at the network), and a method is to
be read against the other methods of the same network. Hedström et al., "Sanity checks revisited" (2023, arXiv
2401.06465) answer with two variants: explanations of noisy copies are averaged first (`smooth`), and the maps are
not compared at all, but the rise of their complexity is measured (`efficient`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from heatproof.attribution.isolation import isolated
from heatproof.attribution.passes import column
from heatproof.attribution.sampling import checked_samples, noise_deviation
from heatproof.attribution.streams import normal
from heatproof.errors import ConfigError
from heatproof.metrics.randomisation.layers import randomised
from heatproof.metrics.randomisation.similarity import as_array, compared, constant, paired

Maps = torch.Tensor | np.ndarray
# Maps of all scans by a network, shape (n_scans, C, *space) or (n_scans, *space).
Explain = Callable[[nn.Module], Maps]
# The same for given inputs.
ExplainInputs = Callable[[nn.Module, torch.Tensor], Maps]


@dataclass(frozen=True)
class CascadeResult:
    """How alike the maps of trained and randomised networks are.

    Attributes
    ----------
    layers : tuple of tuple of str, length n_stages
        Layers that were re-drawn since the stage before.
    similarities : ndarray, shape (n_stages, n_scans)
        Similarity with the map of the trained network; the last stage has no trained layer left. NaN at all stages
        of a scan whose trained map is constant or not finite; 0 where only the randomised map is constant.
    """

    layers: tuple[tuple[str, ...], ...]
    similarities: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """Mean similarity of each scan over the stages, shape (n_scans,); less is better, NaN if a stage is."""
        return self.similarities.mean(axis=0)


def cascading(
    model: nn.Module,
    explain: Explain,
    *,
    seed: int,
    layers: int | None = None,
    order: str = "top_down",
    similarity: str = "spearman",
    mask: np.ndarray | None = None,
) -> CascadeResult:
    """Return the cascading randomisation test; its score is the metric ``cascading_mprt``.

    A scan whose map is constant already for the trained network cannot be tested (NaN). A map that only becomes
    constant when weights are re-drawn has lost all that it said, so that stage counts as similarity 0.

    Parameters
    ----------
    model : nn.Module
        The trained network. It is never written to; `explain` sees private copies in evaluation mode.
    explain : callable
        ``explain(network)`` returns the maps of all scans, a tensor or an array of shape (n_scans, C, *space) or
        (n_scans, *space).
    seed : int
        Root seed of the new weights.
    layers : int, optional
        Stages at which the maps are compared, evenly chosen; all by default.
    order : {"top_down", "bottom_up"}
        Which layers lose their weights first.
    similarity : str
        A kind of `heatproof.metrics.randomisation.similarity`.
    mask : ndarray of bool, shape (*space,), optional
        Where maps are compared; everywhere by default.

    Raises
    ------
    ConfigError, GeometryError, UnsupportedModelError
        As `randomised` and `heatproof.metrics.randomisation.similarity`.
    """
    networks = randomised(model, seed=seed, layers=layers, order=order)
    names: list[tuple[str, ...]] = []
    rows: list[np.ndarray] = []
    original: Maps | None = None
    for redrawn, network in networks:
        if original is None:
            # Only now: a network that cannot be randomised is refused before anything is explained.
            original = explain(isolated(model))
            comparable = np.isfinite(paired(original, original, similarity, mask))
        names.append(redrawn)
        maps = explain(network)
        alike = paired(original, maps, similarity, mask)
        rows.append(np.where(comparable & constant(maps, similarity, mask), 0.0, alike))
    return CascadeResult(tuple(names), np.stack(rows))


def smooth(
    model: nn.Module,
    explain: ExplainInputs,
    inputs: torch.Tensor,
    *,
    seed: int,
    n_noise: int = 50,
    noise_level: float = 0.1,
    layers: int | None = None,
    order: str = "bottom_up",
    similarity: str = "spearman",
    mask: np.ndarray | None = None,
    scan_keys: Sequence[object] | None = None,
) -> CascadeResult:
    """Return the smooth randomisation test (sMPRT); its score is the metric ``smooth_mprt``.

    The maps of noisy copies of a scan are averaged before they are compared, so that shattered gradients do not pass
    for a loss of the weights (Hedström et al. 2023). Trained and randomised networks see the same copies.

    Parameters
    ----------
    model, seed, layers, similarity, mask
        See `cascading`.
    explain : callable
        ``explain(network, inputs)`` returns a tensor or an array, shape (n_scans, C, *space) or (n_scans, *space).
    inputs : Tensor, shape (n_scans, C, *space)
        The scans.
    n_noise : int
        Noisy copies of each scan.
    noise_level : float
        Standard deviation of the noise as a share of the scan's largest minus its least value.
    order : {"bottom_up", "top_down"}
        As published, the lowest layers lose their weights first: they carry the scan's structure.
    scan_keys : sequence, optional
        One key per scan for its noise; by default its position.

    Raises
    ------
    ConfigError, UnsupportedModelError
        As `cascading`, or no copy or less than no noise.
    """
    checked_samples(n_noise, noise_level)
    keys = range(len(inputs)) if scan_keys is None else scan_keys
    deviation = column(noise_deviation(inputs, noise_level), inputs)

    def averaged(network: nn.Module) -> np.ndarray:
        def explained(copy: int) -> np.ndarray:
            noise = normal(inputs, seed, "smooth_mprt", keys, copy)
            return as_array(explain(network, inputs + deviation * noise))

        total = explained(0)
        for copy in range(1, n_noise):
            total = total + explained(copy)
        return total / n_noise

    return cascading(model, averaged, seed=seed, layers=layers, order=order, similarity=similarity, mask=mask)


def efficient(
    model: nn.Module, explain: Explain, *, seed: int, n_bins: int = 100, mask: np.ndarray | None = None
) -> np.ndarray:
    """Return the efficient randomisation test (eMPRT), one score per scan: the metric ``efficient_mprt``.

    The relative rise ``(h_random - h) / h`` of the entropy of the map's histogram when all weights are re-drawn
    (Hedström et al. 2023): a map that shows what a network has learnt is simpler than one of a network that has
    learnt nothing. Nothing is compared voxel by voxel, so the order of the layers plays no part.

    Parameters
    ----------
    model, explain, seed
        See `cascading`.
    n_bins : int
        Bins of the histogram, at least 2.
    mask : ndarray of bool, shape (*space,), optional
        Voxels that count; all by default.

    Returns
    -------
    ndarray, shape (n_scans,)
        More is better; NaN where the trained network's map is constant or a map is not finite.

    Raises
    ------
    ConfigError, UnsupportedModelError
        Too few bins, or as `randomised`.
    """
    if n_bins < 2:
        raise ConfigError(f"{n_bins} bins say nothing.", field="n_bins", remedy="use 2 or more.")
    ((_, network),) = randomised(model, seed=seed, layers=1)
    before, after = (
        np.array([histogram_entropy(heatmap, n_bins, mask) for heatmap in explain(twin)])
        for twin in (isolated(model), network)
    )
    return np.divide(after - before, before, out=np.full(before.shape, np.nan), where=before > 0)


def histogram_entropy(heatmap: Maps, n_bins: int = 100, mask: np.ndarray | None = None) -> float:
    """Return the Shannon entropy (nats) of a map's histogram between its least and its largest value.

    Parameters
    ----------
    heatmap : Tensor or ndarray, shape (*space,) or (C, *space)
        The map.
    n_bins : int
        Bins of equal width; a constant map fills one of them (0).
    mask : ndarray of bool, shape (*space,), optional
        Voxels that count.

    Returns
    -------
    float
        NaN where the map is not finite.
    """
    values = compared(heatmap, mask)
    if not np.isfinite(values).all():
        return float("nan")
    counts, _ = np.histogram(values, bins=n_bins)
    shares = counts[counts > 0] / values.size
    return float(-(shares * np.log(shares)).sum()) + 0.0
