"""Scans from the cohort store to batches: normalised, cached up to a limit, and every read on record."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import EllipsisType
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import ConfigError, IntakeError
from heatproof.files import sha256_of_array

Item = TypeVar("Item")
Result = TypeVar("Result")


class ScanStore(Protocol):
    """What a loader needs of a cohort (`heatproof.cohorts.store.Cohort` has it)."""

    mask: np.ndarray
    channels: int

    def scan(self, scan_id: str) -> np.ndarray:
        """Return one scan, shape (channels, *space)."""
        ...


def normalise(scan: np.ndarray, mask: np.ndarray, kind: str) -> np.ndarray:
    """Return one scan with its intensities normalised by its own values alone.

    Nothing is fitted to other scans, so nothing can leak between the parts of a fold.

    Parameters
    ----------
    scan : ndarray, shape (channels, *space)
        Intensities.
    mask : ndarray of bool, shape (*space,)
        The brain.
    kind : {"zscore", "minmax", "none"}
        ``zscore``: mean 0 and deviation 1 inside the mask, zero outside. ``minmax``: the whole channel
        to 0..1, as Wang et al. (2023) did. ``none``: as stored.

    Returns
    -------
    ndarray of float32, shape (channels, *space)

    Raises
    ------
    IntakeError
        If a channel is constant, so that it cannot be normalised.
    ConfigError
        If the kind is not known.
    """
    return _rescaled(scan, scan, mask, kind)


def zero_intensity(scan: np.ndarray, mask: np.ndarray, kind: str) -> np.ndarray:
    """Return what `normalise` makes of the stored intensity zero in this scan: a head without tissue.

    Under ``zscore`` zero is the mean intensity of the brain after normalisation, and no tissue is
    -mean / deviation inside the mask (zero outside). Under ``minmax`` it is zero where the darkest voxel is.

    Parameters, errors and shape are those of `normalise`.
    """
    return _rescaled(np.zeros_like(scan), scan, mask, kind)


def _rescaled(values: np.ndarray, scan: np.ndarray, mask: np.ndarray, kind: str) -> np.ndarray:
    """Return values (channels, *space) on the scale that normalises a scan of the same shape."""
    if kind == "none":
        return np.asarray(values, dtype=np.float32)
    if kind not in ("zscore", "minmax"):
        raise ConfigError(
            f"the intensity normalisation '{kind}' does not exist.",
            field="intensity",
            remedy="use zscore, minmax or none.",
        )
    result = np.zeros(scan.shape, dtype=np.float32)
    where: np.ndarray | EllipsisType = mask if kind == "zscore" else ...
    for channel, intensities in enumerate(scan):
        inside = intensities[where]
        if kind == "zscore":
            centre, spread = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
        else:
            centre, spread = float(inside.min()), float(inside.max()) - float(inside.min())
        if not spread > 0:
            raise IntakeError(
                f"channel {channel} is constant.",
                field="intensity",
                remedy="exclude the scan from the cohort.",
            )
        result[channel][where] = ((values[channel][where] - centre) / spread).astype(np.float32)
    return result


class ScanLoader:
    """Normalised scans as tensors.

    Parameters
    ----------
    cohort : ScanStore
        The cohort.
    intensity : {"zscore", "minmax", "none"}
        See `normalise`.
    cache_megabytes : float
        Memory for scans that are kept; once it is full, further scans are read from disk every time.

    Attributes
    ----------
    shape : tuple of int
        Channels and space axes of every scan.
    reads : dict of str to Counter
        Part -> how often each scan was asked for on its behalf: what a model has really seen.
    hashes : dict of str to str
        SHA-256 of every scan's values as they came from the store.
    """

    def __init__(self, cohort: ScanStore, intensity: str = "zscore", cache_megabytes: float = 1024) -> None:
        self._cohort, self._intensity = cohort, intensity
        self._room = cache_megabytes * 2**20
        self.shape = (cohort.channels, *cohort.mask.shape)
        self._cache: dict[str, Tensor] = {}
        self.reads: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.hashes: dict[str, str] = {}

    def scan(self, scan_id: str, part: str = "test") -> Tensor:
        """Return one scan, shape (channels, *space), float32. Do not change it: it may be the cached one.

        Parameters
        ----------
        scan_id : str
            Which.
        part : {"train", "validation", "test"}
            The part of the fold on whose behalf it is read.
        """
        self.reads[part][scan_id] += 1
        if scan_id in self._cache:
            return self._cache[scan_id]
        tensor = self._read(scan_id, normalise)
        if tensor.nbytes <= self._room:
            self._room -= tensor.nbytes
            self._cache[scan_id] = tensor
        return tensor

    def zero_intensity(self, scan_ids: Iterable[str], part: str = "test") -> Tensor:
        """Return what the stored intensity zero becomes in each scan, shape (n, channels, *space), float32."""
        zeros = []
        for scan_id in scan_ids:
            self.reads[part][scan_id] += 1
            zeros.append(self._read(scan_id, zero_intensity))
        return torch.stack(zeros)

    def _read(self, scan_id: str, scale: Callable[[np.ndarray, np.ndarray, str], np.ndarray]) -> Tensor:
        """Return what a function makes of a scan as it is stored; its digest is kept."""
        stored = self._cohort.scan(scan_id)
        if scan_id not in self.hashes:
            self.hashes[scan_id] = sha256_of_array(stored)
        try:
            return torch.from_numpy(scale(stored, self._cohort.mask, self._intensity))
        except IntakeError as error:
            raise IntakeError(error.problem, file=f"scan {scan_id}", field=error.field, remedy=error.remedy) from error

    def batch(self, scan_ids: Iterable[str], part: str = "test") -> Tensor:
        """Return several scans in the order asked for, shape (n, channels, *space), float32."""
        return torch.stack([self.scan(scan_id, part) for scan_id in scan_ids])

    def batches(
        self, scan_ids: Sequence[str], batch_size: int, part: str = "test"
    ) -> Iterator[tuple[list[str], Tensor]]:
        """Yield (scan ids, batch) over all scans, the next batch being read while one is in use."""
        groups = [list(scan_ids[start : start + batch_size]) for start in range(0, len(scan_ids), batch_size)]
        return zip(groups, read_ahead(lambda group: self.batch(group, part), groups), strict=True)


def read_ahead(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computing the next one in a thread while the last is in use."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = [thread.submit(function, item) for item in items[:1]]
        for position in range(len(items)):
            result = waiting.pop().result()
            if position + 1 < len(items):
                waiting.append(thread.submit(function, items[position + 1]))
            yield result
