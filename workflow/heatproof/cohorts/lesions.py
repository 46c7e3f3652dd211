"""The lesion phantom: brain slices of simulated patients whose lesions differ in kind, with the lesion known exactly.

It imitates the slices of brain tumours that networks are taught to tell apart (Cheng et al., PLoS ONE
2015;10:e0140381, doi:10.1371/journal.pone.0140381): several neighbouring slices of each patient, so that a split
by slice leaks. Anatomy: MNI152 2009a symmetric (Fonov et al., NeuroImage 2011;54:313,
doi:10.1016/j.neuroimage.2010.07.033). Every random number is keyed by the person or the scan, so scan i is
the same in a cohort of ten or of ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from heatproof.cohorts.deformations import identity, random_field, random_warp, sample
from heatproof.cohorts.lesion_images import CORNERS, bar, least_radius, outline, spread_brightness, tag
from heatproof.cohorts.store import RawScan, Record, Source
from heatproof.cohorts.templates import mni_template
from heatproof.errors import ConfigError
from heatproof.geometry import Grid
from heatproof.randomness import generator
from heatproof.truths.injected import exact_truth

# The class without a lesion.
NONE = "none"
AREAS = {1: "Lesion", 2: "Distractor", 3: "Tag"}
# The judged region reaches this far beyond the template's brain, for anatomies that the warp makes larger.
MASK_MARGIN_MM = 6.0
# No voxel of a lesion has a truth below this share of the largest, however little the lesion changes it: the dark
# core of a ring tells its kind as well as the rim does.
TRUTH_FLOOR = 0.5


@dataclass(frozen=True)
class Person:
    """Who one participant is.

    Attributes
    ----------
    participant_id : str
        Identifier.
    kind : str
        Class.
    radius_mm : float
        Size of the lesion.
    height_mm : float
        Where the middle slice lies, z in MNI space.
    corner : str
        Where the scanner writes its tag, one of `CORNERS`; empty where tags play no part.
    visits : int
        How often each slice is scanned.
    """

    participant_id: str
    kind: str
    radius_mm: float
    height_mm: float
    corner: str
    visits: int


@dataclass(frozen=True)
class Slices:
    """The slices of one person before any scanner has seen them, each (rows, columns, slices).

    Attributes
    ----------
    tissue : ndarray
        Intensities without the lesion.
    brain, lesion : ndarray of bool
        Where they are; a person of class ``none`` has the place of a lesion too, but nothing in it.
    brightness : ndarray
        What the lesion adds; 0 for class ``none``.
    """

    tissue: np.ndarray
    brain: np.ndarray
    lesion: np.ndarray
    brightness: np.ndarray


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> Source:
    """Return the lesion cohort that a configuration describes; scans are made when they are loaded.

    The judged region is the brain in any of the slices, and the corners where a tag may be: a map that points
    at the tag must be seen to do so.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config with its defaults filled (schema ``cohorts_simulated.yaml``).
    seed : int
        Seed of the study.
    root : Path
        Unused: the template is part of nilearn.

    Raises
    ------
    ConfigError
        If the slices of a person reach beyond the smallest lesion, or a range is upside down.
    """
    phantom = Lesions(spec, seed)
    return Source(
        grid=phantom.grid,
        records=phantom,
        classes=phantom.classes,
        has_controls=NONE in phantom.classes,
        mask=phantom.region(),
        template=phantom.background(),
        label_names={label: name for label, name in AREAS.items() if label < 3 or spec["tag_strength"]},
        description={
            "source": "lesions",
            "seed": seed,
            "people": spec["n_participants"],
            "unit": "patients",
            "tag_strength": spec["tag_strength"],
            "citation": "MNI152 2009a: Fonov et al., NeuroImage 2011;54:313",
        },
    )


class Lesions:
    """The records of the lesion phantom, in order of participant, visit and slice; may be iterated more than once.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config.
    seed : int
        Seed of the study.
    """

    def __init__(self, spec: dict[str, Any], seed: int) -> None:
        _check(spec)
        self.spec, self.seed = spec, seed
        template = mni_template(spec["resolution_mm"], spec["margin_voxels"])
        assert template.grid.affine is not None
        self.bright = template.bright
        # Rows from front to back and columns from left to right, as radiology shows a slice seen from above.
        self._volume = np.ascontiguousarray(template.intensity.transpose(1, 0, 2)[::-1])
        self._bottom_mm = float(template.grid.affine[2, 3])
        self.grid = Grid(self._volume.shape[:2], spacing=(float(spec["resolution_mm"]),) * 2, units="mm")
        self.classes = tuple(sorted(spec["kinds"], key=lambda kind: kind != NONE))
        self._slices = lru_cache(maxsize=2)(self._drawn)

    def __len__(self) -> int:
        people = (self.person(index) for index in range(self.spec["n_participants"]))
        return sum(person.visits * self.spec["n_slices"] for person in people)

    def __iter__(self) -> Iterator[Record]:
        for index in range(self.spec["n_participants"]):
            person = self.person(index)
            for visit in range(1, person.visits + 1):
                for position in range(self.spec["n_slices"]):
                    row = self._row(person, visit, position)
                    yield Record(row, partial(self.scan, person, visit, position))

    def person(self, index: int) -> Person:
        """Return participant `index`; independent of how many there are."""
        spec, n = self.spec, len(self.classes)
        participant_id = f"sub-{index + 1:04d}"
        # Each run of as many people as classes holds every class once: classes stay balanced at any size.
        target = int(self._random("block", index // n).permutation(n)[index % n])
        random = self._random(participant_id, "person")
        radius = float(random.uniform(*spec["lesion_radius_mm"]))
        height = float(random.uniform(*spec["height_mm"]))
        visits = spec["n_visits"] if random.random() < spec["rescanned_share"] else 1
        honest, other = random.random() < spec["tag_strength"], int(random.integers(n))
        corner = CORNERS[target if honest else other] if spec["tag_strength"] else ""
        return Person(participant_id, self.classes[target], radius, height, corner, visits)

    def slices(self, person: Person) -> Slices:
        """Return a person's own anatomy and lesion: the same in every scan."""
        return self._slices(person)

    def scan(self, person: Person, visit: int, position: int) -> RawScan:
        """Return one slice of one visit with its truth and the mask of every object.

        The truth is the exact difference that the lesion makes before noise is added, raised to `TRUTH_FLOOR`
        of its largest value wherever the lesion is, and 0 elsewhere: the whole lesion is the truth.
        """
        spec, shape, spacing = self.spec, self.grid.shape, self.grid.spacing
        body, scan_id = self.slices(person), _scan_id(person, visit, position)
        tissue, brain, lesion = (part[..., position] for part in (body.tissue, body.brain, body.lesion))
        random = self._random(scan_id, "scan")
        labels = np.where(lesion & (person.kind != NONE), 1, 0).astype(np.int32)
        extra = np.zeros(shape, dtype=np.float32)
        if spec["distractor_contrast"]:
            place = bar(brain, lesion, spacing, random)
            labels[place] = 2
            extra += np.float32(spec["distractor_contrast"] * self.bright) * place
        scanner = self._random(person.participant_id, visit, "scanner")
        gain = np.exp(spec["gain"] * scanner.standard_normal())
        field = gain * np.exp(spec["bias"] * random_field(shape, spacing, spec["bias_scale_mm"], scanner))
        # With and without the lesion alike, so that both renderings round alike.
        with_lesion, without = ((tissue + part + extra) * field for part in (body.brightness[..., position], 0.0))
        noise = random.standard_normal(shape, dtype=np.float32) * np.float32(spec["noise"] * self.bright)
        image = with_lesion + noise * brain
        if person.corner:
            corner = tag(shape, spacing, person.corner)
            labels[corner] = 3
            image = np.where(corner, np.float32(spec["tag_intensity"] * self.bright), image)
        difference = exact_truth(with_lesion, without)
        truth = np.where(labels == 1, np.maximum(difference, TRUTH_FLOOR * difference.max()), 0)
        return RawScan(image.astype(np.float32)[np.newaxis], self.grid, truth.astype(np.float32), labels)

    def region(self) -> np.ndarray:
        """Return where maps are judged: the brain in any slice, a little wider, and the corners of the tags."""
        spec = self.spec
        low, high = (self._level(height) for height in spec["height_mm"])
        reach = (spec["n_slices"] - 1) / 2 * spec["slice_mm"] / spec["resolution_mm"]
        planes = slice(max(0, int(low - reach)), int(high + reach) + 2)
        brain = (self._volume[..., planes] > 0).any(axis=-1)
        mask = ndimage.binary_dilation(brain, iterations=max(1, round(MASK_MARGIN_MM / spec["resolution_mm"])))
        for corner in CORNERS[: len(self.classes)] if spec["tag_strength"] else ():
            mask |= tag(self.grid.shape, self.grid.spacing, corner)
        return mask

    def background(self) -> np.ndarray:
        """Return the template's slice in the middle of the range, shape (rows, columns)."""
        level = self._level(float(np.mean(self.spec["height_mm"])))
        return self._volume[..., min(max(round(level), 0), self._volume.shape[-1] - 1)]

    def _drawn(self, person: Person) -> Slices:
        spec, n = self.spec, self.spec["n_slices"]
        shape, spacing = (*self.grid.shape, n), (*self.grid.spacing, spec["slice_mm"])
        name = person.participant_id
        warp = random_warp(
            shape, spacing, spec["anatomy_scale_mm"], spec["anatomy_amplitude_mm"], self._random(name, "anatomy")
        )
        points = identity(shape) + warp
        thickness = np.float32(spec["slice_mm"] / spec["resolution_mm"])
        points[2] = self._level(person.height_mm) + (points[2] - (n - 1) / 2) * thickness
        tissue = sample(self._volume, points)
        brain = sample((self._volume > 0).astype(np.uint8), points, order=0) > 0
        lesion = outline(brain, spacing, person.radius_mm, self._random(name, "lesion"))
        brightness = np.zeros(shape, dtype=np.float32)
        if person.kind != NONE:
            texture = random_field(shape, spacing, spec["texture_scale_mm"], self._random(name, "texture"))
            spread = spread_brightness(person.kind, lesion, texture, spec["texture"])
            brightness = spread * np.float32(spec["contrast"] * self.bright)
        return Slices(tissue * brain, brain, lesion.mask, brightness)

    def _level(self, height_mm: float) -> float:
        """Return the plane of the template at a height, in voxels."""
        return (height_mm - self._bottom_mm) / float(self.spec["resolution_mm"])

    def _row(self, person: Person, visit: int, position: int) -> dict[str, Any]:
        offset = (position - (self.spec["n_slices"] - 1) / 2) * self.spec["slice_mm"]
        row: dict[str, Any] = {
            "scan_id": _scan_id(person, visit, position),
            "participant_id": person.participant_id,
            "diagnosis": person.kind,
            "target": self.classes.index(person.kind),
            "visit": visit,
            "slice": position + 1,
            "height_mm": round(person.height_mm + offset, 1),
            "radius_mm": round(person.radius_mm, 1),
        }
        if person.corner:
            row["tag"] = person.corner
        return row

    def _random(self, *keys: object) -> np.random.Generator:
        return generator(self.seed, "lesions", *keys)


def _scan_id(person: Person, visit: int, position: int) -> str:
    return f"{person.participant_id}_ses-{visit}_slice-{position + 1}"


def _check(spec: dict[str, Any]) -> None:
    for field in ("lesion_radius_mm", "height_mm"):
        if spec[field][0] > spec[field][1]:
            raise ConfigError(
                f"{field} runs from {spec[field][0]} down to {spec[field][1]}.",
                field=field,
                remedy="give the smaller number first.",
            )
    needed = least_radius(spec["n_slices"], spec["slice_mm"])
    if spec["lesion_radius_mm"][0] <= needed:
        raise ConfigError(
            f"a lesion with a radius of {spec['lesion_radius_mm'][0]} mm may miss the outer slices of its person.",
            field="lesion_radius_mm",
            remedy=f"choose more than {needed:.1f} mm, fewer slices, or slices closer together (slice_mm).",
        )
