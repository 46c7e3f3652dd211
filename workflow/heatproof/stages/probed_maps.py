"""The maps of a scan that is probed: those of all methods, their nulls, and the truth used as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.metrics.information import null_maps
from heatproof.randomness import generator
from heatproof.stages.probing import EXACT_TRUTH, Probed


@dataclass(frozen=True)
class MapsOfScan:
    """What is held against one scan.

    Attributes
    ----------
    scan_id : str
        The scan.
    labels : list of (str, str)
        Method and null of each map; no null for the method's own.
    signed : ndarray, shape (M, ...)
        The maps with their sign, in the shape of places (`Cohort.places`).
    """

    scan_id: str
    labels: list[tuple[str, str]]
    signed: np.ndarray


@dataclass(frozen=True)
class ProbedMaps:
    """The maps of every scan that is probed.

    Attributes
    ----------
    cohort : Cohort
        Mask, people and truths.
    files : mapping of str to h5py.File
        Open maps files by method; all with the same scans.
    chosen : Probed
        The scans.
    nulls : sequence of str
        Nulls beside every map.
    seed : int
        Of the nulls.
    output : str
        The number that the network estimates, whose truth is used as a map; empty for a classifier.
    """

    cohort: Cohort
    files: Mapping[str, h5py.File]
    chosen: Probed
    nulls: Sequence[str]
    seed: int
    output: str = ""

    def of(self, number: int) -> MapsOfScan:
        """Return the maps of one of the chosen scans."""
        scan_id, position = self.chosen.scan_ids[number], int(self.chosen.positions[number])
        labels: list[tuple[str, str]] = []
        maps: list[np.ndarray] = []
        other = self._other(number) if "other_scan" in self.nulls else None
        made = [kind for kind in self.nulls if kind != "other_scan"]
        for name, file in self.files.items():
            own = self.cohort.places(file["maps"][position])
            random = generator(self.seed, name, scan_id)
            mask, spacing = self.cohort.places_mask, self.cohort.places_spacing
            found = {"": own, **null_maps(own, random, made, mask=mask, spacing=spacing)}
            if other is not None:
                found["other_scan"] = self.cohort.places(file["maps"][other])
            labels += [(name, null) for null in found]
            maps += [each.astype(np.float32) for each in found.values()]
        truth = self.cohort.known_truth(scan_id, self.output)
        if truth is not None and self.output:
            # The effect of a number has a sign, as maps have.
            truth = self.cohort.truth(scan_id, self.output)
        if truth is not None:
            labels.append((EXACT_TRUTH, ""))
            maps.append(truth.astype(np.float32))
        return MapsOfScan(scan_id, labels, np.stack(maps))

    def _other(self, number: int) -> int | None:
        """Return the position of the next scan of another person, the same class first; None if there is none."""
        chosen = self.chosen
        people = self.cohort.participants.loc[chosen.scan_ids, "participant_id"].astype(str).tolist()
        following = [(number + step) % len(people) for step in range(1, len(people))]
        others = [place for place in following if people[place] != people[number]]
        same = [place for place in others if chosen.targets[place] == chosen.targets[number]]
        return int(chosen.positions[(same or others)[0]]) if others else None
