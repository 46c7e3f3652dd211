"""Scans from the cohort store to batches: normalised, cached up to a limit, and every read on record."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import IntakeError, UnsupportedModelError
from heatproof.files import sha256_of_array
from heatproof.intensities import FITTED_INTENSITIES
from heatproof.models import LoadedModel
from heatproof.training.intensity import FittedIntensity, fit_intensity, normalise, zero_intensity

Item = TypeVar("Item")
Result = TypeVar("Result")


class ScanStore(Protocol):
    """What a loader needs of a cohort (`heatproof.cohorts.store.Cohort` has it)."""

    mask: np.ndarray
    channels: int

    def scan(self, scan_id: str) -> np.ndarray:
        """Return one scan, shape (channels, *space)."""
        ...


class ScanLoader:
    """Normalised scans as tensors.

    A training begins with `fit`; whatever comes after it reads through `for_model`, so that scans are normalised
    as the model has learned them.

    Parameters
    ----------
    cohort : ScanStore
        The cohort.
    intensity : {"zscore", "minmax", "none", "pixelwise", "dataset"}
        See `normalise`.
    cache_megabytes : float
        Memory for scans that are kept; once it is full, further scans are read from disk every time.
    fitted : FittedIntensity, optional
        What ``pixelwise`` and ``dataset`` go by.

    Attributes
    ----------
    shape : tuple of int
        Channels and space axes of every scan.
    fitted : FittedIntensity or None
        What the normalisation was fitted to.
    reads : dict of str to Counter
        Part -> how often each scan was asked for on its behalf: what a model has really seen.
    hashes : dict of str to str
        SHA-256 of every scan's values as they came from the store.
    """

    def __init__(
        self,
        cohort: ScanStore,
        intensity: str = "zscore",
        cache_megabytes: float = 1024,
        fitted: FittedIntensity | None = None,
    ) -> None:
        self._cohort, self._intensity, self.fitted = cohort, intensity, fitted
        self._room = cache_megabytes * 2**20
        self.shape = (cohort.channels, *cohort.mask.shape)
        self._cache: dict[str, Tensor] = {}
        self.reads: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.hashes: dict[str, str] = {}

    @classmethod
    def fit(
        cls, cohort: ScanStore, intensity: str, scan_ids: Iterable[str], part: str, cache_megabytes: float = 1024
    ) -> ScanLoader:
        """Return a loader whose normalisation is fitted, where it is of a kind that has to be.

        Parameters
        ----------
        cohort, intensity, cache_megabytes
            See the class.
        scan_ids : iterable of str
            The scans to fit to, each counted once and in the order of their ids, so that the order in which
            they are given changes nothing. They are read only if something is fitted.
        part : str
            On whose behalf they are read (see `heatproof.leakage.fitting_scans`).

        Raises
        ------
        IntakeError
            If a channel is constant over all scans.
        """
        loader = cls(cohort, intensity, cache_megabytes)
        if intensity in FITTED_INTENSITIES:
            scans = (loader._stored(scan_id, part) for scan_id in sorted(set(scan_ids)))
            loader.fitted = fit_intensity(scans, cohort.mask, intensity)
        return loader

    @classmethod
    def for_model(cls, loaded: LoadedModel, cohort: ScanStore, cache_megabytes: float = 0) -> ScanLoader:
        """Return the loader that normalises scans as they were when a model was trained.

        Raises
        ------
        UnsupportedModelError
            If the model does not say how, or was stored without what its normalisation was fitted to.
        """
        intensity = loaded.metadata.get("intensity")
        if intensity is None:
            raise UnsupportedModelError(
                "the weights do not say how scans were normalised in training.",
                field="intensity",
                remedy="train the model again.",
            )
        fitted = FittedIntensity.from_tensors(loaded.intensity) if intensity in FITTED_INTENSITIES else None
        return cls(cohort, str(intensity), cache_megabytes, fitted)

    def scan(self, scan_id: str, part: str = "test") -> Tensor:
        """Return one scan, shape (channels, *space), float32. Do not change it: it may be the cached one.

        Parameters
        ----------
        scan_id : str
            Which.
        part : {"train", "validation", "test"}
            The part of the fold on whose behalf it is read.
        """
        if scan_id in self._cache:
            self.reads[part][scan_id] += 1
            return self._cache[scan_id]
        tensor = self._read(scan_id, part, normalise)
        if tensor.nbytes <= self._room:
            self._room -= tensor.nbytes
            self._cache[scan_id] = tensor
        return tensor

    def zero_intensity(self, scan_ids: Iterable[str], part: str = "test") -> Tensor:
        """Return what the stored intensity zero becomes in each scan, shape (n, channels, *space), float32."""
        return torch.stack([self._read(scan_id, part, zero_intensity) for scan_id in scan_ids])

    def normalised(self, stored: np.ndarray, scale: Callable[..., np.ndarray] = normalise) -> np.ndarray:
        """Return what a function makes of values on the cohort's grid, by default their normalised form.

        Parameters
        ----------
        stored : ndarray, shape (channels, *space)
            Intensities as the cohort stores them, of a scan that need not be in it.
        scale : callable
            `normalise` or `zero_intensity`.
        """
        return scale(stored, self._cohort.mask, self._intensity, self.fitted)

    def _read(self, scan_id: str, part: str, scale: Callable[..., np.ndarray]) -> Tensor:
        """Return what a function makes of a scan as it is stored."""
        stored = self._stored(scan_id, part)
        try:
            return torch.from_numpy(self.normalised(stored, scale))
        except IntakeError as error:
            raise IntakeError(error.problem, file=f"scan {scan_id}", field=error.field, remedy=error.remedy) from error

    def _stored(self, scan_id: str, part: str) -> np.ndarray:
        """Return a scan as it is stored; the read and the digest of its values are kept."""
        self.reads[part][scan_id] += 1
        stored = self._cohort.scan(scan_id)
        if scan_id not in self.hashes:
            self.hashes[scan_id] = sha256_of_array(stored)
        return stored

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
