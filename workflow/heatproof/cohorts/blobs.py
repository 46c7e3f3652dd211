"""Blobs: two groups of images, signals or volumes that differ by how two of four blobs are warped.

The oldest test of a method that explains by warping (Liu et al., IPMI 2021, arXiv:2102.08239): in patients two blobs
have shrunk; two others shrink or grow in everybody and say nothing of the group, unless a confounded arm is asked for.
The warp and its log-Jacobian are exact. Every random number is keyed by the person or the scan, so scan i is the same
in a cohort of ten or of ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.blob_images import AREAS, EFFECTS, NUISANCES, Blob, areas_at, centres, flowed, room, tissue
from heatproof.cohorts.counterfactuals import (
    Counterfactual,
    CounterfactualSource,
    inverted,
    log_jacobian,
    person_of,
)
from heatproof.cohorts.deformations import identity, random_field, random_warp, sample
from heatproof.cohorts.groups import check_severities
from heatproof.cohorts.store import LOG_JACOBIAN, RawScan, Record
from heatproof.geometry import Grid
from heatproof.randomness import generator
from heatproof.truths.injected import exact_truth

CLASSES = ("control", "patient")
# How much of its severity one blob of a patient has at least; the least strength of a nuisance.
LEAST_SHARE = 0.5
# A blob never fills more than this share of its reach, however large it is drawn.
LARGEST_SHARE = 0.8


@dataclass(frozen=True)
class Person:
    """Who one participant is.

    Attributes
    ----------
    participant_id : str
        Identifier.
    patient : bool
        Whether two blobs have shrunk.
    stage : float
        Severity (0 to 1) that this person has as a patient, or would have.
    effects, nuisances : dict of int to float
        Strength of each area: 1 shrinks as much as the config allows, -1 grows as much. A control has the effects
        that this person would have.
    visits : int
        Number of scans.
    """

    participant_id: str
    patient: bool
    stage: float
    effects: dict[int, float]
    nuisances: dict[int, float]
    visits: int


@dataclass(frozen=True)
class Body:
    """What is a person's own, the same in every scan.

    Attributes
    ----------
    blobs : dict of int to Blob
        The blobs of the anatomy at rest.
    displacement : ndarray, shape (axes, *space)
        Warp from the person to the anatomy, in voxels.
    ground, inside : ndarray, shape (*space,)
        Brightness of the anatomy beside and inside blobs.
    """

    blobs: dict[int, Blob]
    displacement: np.ndarray
    ground: np.ndarray
    inside: np.ndarray


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> CounterfactualSource:
    """Return the cohort of blobs that a configuration describes; scans are made when they are loaded.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config with its defaults filled (schema ``cohorts_simulated.yaml``).
    seed : int
        Seed of the study.
    root : Path
        Unused: nothing is read.

    Raises
    ------
    ConfigError
        If the least severity exceeds the largest.
    """
    cohort = Blobs(spec, seed)
    typical, points = cohort.typical_blobs(), identity(cohort.grid.shape)
    flat = (np.full(cohort.grid.shape, value, dtype=np.float32) for value in (spec["ground"], 1.0))
    return CounterfactualSource(
        grid=cohort.grid,
        records=cohort,
        classes=CLASSES,
        template=tissue(points, typical, spec["edge"], *flat),
        atlas=areas_at(points, typical),
        label_names=dict(AREAS),
        description={
            "source": "blobs",
            "seed": seed,
            "people": spec["n_participants"],
            "unit": "people",
            "confounding": spec["confounding"],
        },
        redraw=cohort.counterfactual,
    )


class Blobs:
    """The records of the cohort, in order of participant and visit; may be iterated more than once.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config.
    seed : int
        Seed of the study.
    """

    def __init__(self, spec: dict[str, Any], seed: int) -> None:
        check_severities(spec)
        self.spec, self.seed = spec, seed
        self.grid = Grid(tuple(spec["shape"]), units="pixel")
        self.room = room(self.grid.shape)

    def __len__(self) -> int:
        return sum(self.person(index).visits for index in range(self.spec["n_participants"]))

    def __iter__(self) -> Iterator[Record]:
        for index in range(self.spec["n_participants"]):
            person = self.person(index)
            for visit in range(1, person.visits + 1):
                scan_id = f"{person.participant_id}_ses-{visit}"
                yield Record(_row(person, scan_id, visit), partial(self.scan, person, scan_id))

    def person(self, index: int) -> Person:
        """Return participant `index`; independent of how many there are."""
        spec, participant_id = self.spec, f"sub-{index + 1:04d}"
        # One of each two neighbours is a patient: groups stay balanced at any size.
        patient = bool(self._random("pair", index // 2).integers(2) == index % 2)
        random = self._random(participant_id, "person")
        stage = float(random.uniform(spec["severity_minimum"], spec["severity_maximum"]))
        effects = stage * random.uniform(LEAST_SHARE, 1, len(EFFECTS))
        sizes = random.uniform(LEAST_SHARE, 1, len(NUISANCES))
        # A confounded nuisance shrinks in patients and grows in controls; the others toss a coin.
        follows = random.random(len(NUISANCES)) < spec["confounding"]
        shrinks = np.where(follows, patient, random.random(len(NUISANCES)) < 0.5)
        visits = spec["n_visits"] if random.random() < spec["rescanned_share"] else 1
        return Person(
            participant_id,
            patient,
            stage,
            {area: float(strength) for area, strength in zip(EFFECTS, effects, strict=True)},
            {area: float(s if down else -s) for area, s, down in zip(NUISANCES, sizes, shrinks, strict=True)},
            visits,
        )

    def typical_blobs(self) -> dict[int, Blob]:
        """Return the blobs of the middle of the population."""
        reach = self.room * (1 - self.spec["jitter"])
        radius = min(self.spec["radius"] * self.room, LARGEST_SHARE * reach)
        return {area: Blob(tuple(place), radius, reach) for area, place in centres(self.grid.shape).items()}

    def body(self, person: Person) -> Body:
        """Return the anatomy of a person before anything shrinks or grows."""
        spec, shape, spacing = self.spec, self.grid.shape, self.grid.spacing
        name = person.participant_id
        random = self._random(name, "blobs")
        blobs = {}
        for area, blob in self.typical_blobs().items():
            shift = random.uniform(-1, 1, len(shape)) * spec["jitter"] * self.room
            radius = blob.radius * float(np.exp(spec["radius_sd"] * random.standard_normal()))
            blobs[area] = Blob(tuple(blob.centre + shift), min(radius, LARGEST_SHARE * blob.reach), blob.reach)
        scale, amplitude = spec["anatomy_scale"], spec["anatomy_amplitude"]
        ground, inside = (
            random_field(shape, spacing, spec["texture_scale"], self._random(name, place))
            for place in ("ground", "inside")
        )
        return Body(
            blobs=blobs,
            displacement=random_warp(shape, spacing, scale, amplitude, self._random(name, "anatomy")),
            ground=spec["ground"] + spec["ground_texture"] * ground,
            inside=1 + spec["texture"] * inside,
        )

    def scan(self, person: Person, scan_id: str) -> RawScan:
        """Return one scan of a person with its exact truth, and the log-Jacobian of its cure if that is kept."""
        body, field = self.body(person), self._field(scan_id)
        healthy, ill = self._drawn(person, body, field, ill=False), self._drawn(person, body, field, ill=True)
        image = ill if person.patient else healthy
        noise = self._random(scan_id, "noise").standard_normal(self.grid.shape, dtype=np.float32)
        known = {}
        if self.spec["keep_log_jacobian"] and person.patient:
            # Seen from the scan as it is: the effect's own warp, the other way round.
            known = {LOG_JACOBIAN: -self._log_jacobian(person, body, option=1)}
        return RawScan(
            values=(image + np.float32(self.spec["noise"]) * noise)[np.newaxis],
            grid=self.grid,
            truth=exact_truth(image, healthy),
            labels=areas_at(self._points(person, body, person.patient), body.blobs),
            truths=known or None,
        )

    def counterfactual(self, scan_id: str) -> Counterfactual:
        """Return how one scan would look in the other group (see `CounterfactualSource.counterfactual`)."""
        person = person_of(scan_id, self.spec["n_participants"], self.person)
        body, field = self.body(person), self._field(scan_id)
        healthy, ill = self._drawn(person, body, field, ill=False), self._drawn(person, body, field, ill=True)
        option = -1 if person.patient else 1
        at_rest = identity(self.grid.shape) + body.displacement
        labels = [areas_at(self._points(person, body, effect), body.blobs) for effect in (False, True)]
        effect, nuisance = (
            np.any([np.isin(one, areas) for one in labels], axis=0)
            | np.any([body.blobs[area].distance(at_rest) < body.blobs[area].core for area in areas], axis=0)
            for areas in (EFFECTS, NUISANCES)
        )
        return Counterfactual(
            option,
            (option * (ill - healthy))[np.newaxis],
            self._log_jacobian(person, body, option),
            effect,
            nuisance & ~effect,
        )

    def _points(self, person: Person, body: Body, ill: bool) -> np.ndarray:
        """Return where in the anatomy at rest each voxel of the person lies, shape (axes, *space), in voxels."""
        points = identity(self.grid.shape) + body.displacement
        return flowed(points, body.blobs, self._rates(person.nuisances | (person.effects if ill else {})))

    def _drawn(self, person: Person, body: Body, field: np.ndarray, *, ill: bool) -> np.ndarray:
        """Return the noise-free scan of a person with or without the effect, shape (*space,)."""
        points = self._points(person, body, ill)
        return tissue(points, body.blobs, self.spec["edge"], body.ground, body.inside) * field

    def _log_jacobian(self, person: Person, body: Body, option: int) -> np.ndarray:
        """Return the log-Jacobian of the warp that injects (1) or removes (-1) the effect.

        The effect acts in the anatomy, so its warp of the scan is person -> anatomy -> effect -> person.
        """
        voxels = identity(self.grid.shape).astype(np.float64)
        there = voxels + body.displacement
        rates = {area: option * rate for area, rate in self._rates(person.effects).items()}
        moved = flowed(there, body.blobs, rates)

        def to_anatomy(points: np.ndarray) -> np.ndarray:
            return points + np.stack([sample(part, points) for part in body.displacement])

        back = inverted(to_anatomy, moved, voxels + (moved - there))
        return log_jacobian(back - voxels)

    def _rates(self, strengths: dict[int, float]) -> dict[int, float]:
        return {area: self.spec["contraction"] * strength for area, strength in strengths.items()}

    def _field(self, scan_id: str) -> np.ndarray:
        """Return the multiplicative field of one scan, shape (*space,), float32."""
        field = random_field(self.grid.shape, self.grid.spacing, self.spec["bias_scale"], self._random(scan_id, "bias"))
        return np.exp(np.float32(self.spec["bias"]) * field)

    def _random(self, *keys: object) -> np.random.Generator:
        return generator(self.seed, "blobs", *keys)


def _row(person: Person, scan_id: str, visit: int) -> dict[str, Any]:
    one, two = (round(person.nuisances[area], 4) for area in NUISANCES)
    return {
        "scan_id": scan_id,
        "participant_id": person.participant_id,
        "diagnosis": CLASSES[int(person.patient)],
        "target": int(person.patient),
        "visit": visit,
        "severity": round(person.stage if person.patient else 0.0, 4),
        "nuisance_one": one,
        "nuisance_two": two,
    }
