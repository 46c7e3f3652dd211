"""The phantom: people made from the MNI152 template, some with the injected atrophy of a disorder.

Template: MNI152 2009a symmetric (Fonov et al., NeuroImage 2011;54:313, doi:10.1016/j.neuroimage.2010.07.033),
the T1, grey- and white-matter maps that ship inside nilearn. Every random number is keyed by the person or
the scan, so scan i is the same in a cohort of ten or of ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from heatproof.cohorts.counterfactuals import Counterfactual, CounterfactualSource, person_of
from heatproof.cohorts.deformations import exponential, random_field, random_warp
from heatproof.cohorts.disorders import DISORDERS, phantom_regions
from heatproof.cohorts.groups import check_severities
from heatproof.cohorts.simulation import Anatomy, Appearance, Body, redrawn, regained, render
from heatproof.cohorts.store import LOG_JACOBIAN, RawScan, Record
from heatproof.cohorts.templates import mni_template
from heatproof.errors import ConfigError
from heatproof.randomness import generator
from heatproof.truths.embedded_atlas import area_names, embedded_atlas, labels_of
from heatproof.truths.injected import Effect, contraction_velocity, draw_strengths

AGE_RANGE = (55.0, 95.0)
# Grey matter shrinks and ventricles widen from here on (Fjell et al., Cereb Cortex 2009;19:2001).
AGE_ONSET = 60.0
# Full width of the transition at the wall of the ventricles, in mm.
VENTRICLE_SMOOTHING_MM = 10.0
# MMSE of the healthy, and its mean fall at severity 1, in points of 30.
MMSE_HEALTHY, MMSE_FALL = 29.0, 11.0
TAG_RADIUS_MM = 8.0
MALE_HEAD_SIZE = 1.02


@dataclass(frozen=True)
class Person:
    """Who one participant is.

    Attributes
    ----------
    participant_id : str
        Identifier.
    patient : bool
        Whether the effect is injected.
    age : float
        Years.
    sex : str
        ``F`` or ``M``.
    site : str
        ``A`` or ``B``.
    stage : float
        Severity, 0 to 1, that this person has as a patient, or would have.
    mmse : int
        Score of 30 that falls with severity (written for Alzheimer's disease).
    visits : int
        Number of scans.
    """

    participant_id: str
    patient: bool
    age: float
    sex: str
    site: str
    stage: float
    mmse: int
    visits: int

    @property
    def severity(self) -> float:
        """Stage of the disease; 0 in a control."""
        return self.stage if self.patient else 0.0


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> CounterfactualSource:
    """Return the phantom cohort that a configuration describes; scans are made when they are loaded.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config with its defaults filled (schema ``cohorts_simulated.yaml``).
    seed : int
        Seed of the study.
    root : Path
        Unused: the template is part of nilearn.
    """
    phantom = Phantom(spec, seed)
    return CounterfactualSource(
        grid=phantom.anatomy.grid,
        records=phantom,
        classes=phantom.classes,
        mask=phantom.anatomy.intensity > 0,
        template=phantom.anatomy.intensity,
        atlas=phantom.anatomy.labels,
        label_names=area_names(),
        description={
            "source": "phantom",
            "seed": seed,
            "people": spec["n_participants"],
            "confounder": spec["confounder"],
            "regions": list(phantom.effect.regions),
            "citation": "MNI152 2009a: Fonov et al., NeuroImage 2011;54:313",
        },
        redraw=phantom.counterfactual,
    )


class Phantom:
    """The records of the phantom, in order of participant and visit; may be iterated more than once.

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
        self.anatomy = template_anatomy(spec["resolution_mm"], spec["margin_voxels"])
        self.classes = DISORDERS[spec["disorder"]].classes
        areas = [area for some in phantom_regions(spec) for area in some]
        self.effect = Effect(
            regions={area: labels_of(area) for area in areas},
            region_probability=spec["region_probability"],
            loss=spec["loss"],
            contraction_mm=spec["contraction_mm"],
            smoothing_mm=spec["smoothing_mm"],
            asymmetry=spec["asymmetry"],
        )
        self._tag: np.ndarray | None = None
        if spec["confounder"] == "tag":
            brightness = np.float32(spec["tag_intensity"] * self.anatomy.bright)
            self._tag = _ball(self.anatomy, spec["tag_position"]) * brightness
        self._suppressor = self._suppressor_pattern() if spec["suppressor_amplitude"] else None

    def __len__(self) -> int:
        return sum(self.person(index).visits for index in range(self.spec["n_participants"]))

    def __iter__(self) -> Iterator[Record]:
        for index in range(self.spec["n_participants"]):
            person = self.person(index)
            for visit in range(1, person.visits + 1):
                scan_id = f"{person.participant_id}_ses-{visit}"
                yield Record(self._row(person, scan_id, visit), partial(self.scan, person, scan_id))

    def person(self, index: int) -> Person:
        """Return participant `index`; independent of how many there are."""
        spec = self.spec
        participant_id = f"sub-{index + 1:04d}"
        # One of each two neighbours is a patient: groups stay balanced at any size.
        patient = bool(self._random("pair", index // 2).integers(2) == index % 2)
        random = self._random(participant_id, "person")
        shift = spec["confounder_strength"] * spec["age_gap"] if spec["confounder"] == "age" and patient else 0.0
        age = float(np.clip(random.normal(spec["age_mean"], spec["age_sd"]) + shift, *AGE_RANGE))
        sex = "F" if random.random() < 0.5 else "M"
        lean = spec["confounder_strength"] / 2 if spec["confounder"] in ("site", "tag") else 0.0
        site = "B" if random.random() < (0.5 + lean if patient else 0.5 - lean) else "A"
        stage = float(random.uniform(spec["severity_minimum"], spec["severity_maximum"]))
        severity = stage if patient else 0.0
        mmse = round(float(np.clip(MMSE_HEALTHY - MMSE_FALL * severity + random.normal(0, 1), 0, 30)))
        again = random.random() < spec["rescanned_share"]
        visits = spec["n_visits"] if again else 1
        return Person(participant_id, patient, age, sex, site, stage, mmse, visits)

    def body(self, person: Person, *, as_patient: bool = False) -> Body:
        """Return the anatomy of a person: warp, head size, age and disease.

        With `as_patient` a control has the disease that this person would have.
        """
        spec, grid = self.spec, self.anatomy.grid
        warp = random_warp(
            grid.shape,
            grid.voxel_sizes,
            spec["anatomy_scale_mm"],
            spec["anatomy_amplitude_mm"],
            self._random(person.participant_id, "anatomy"),
        )
        size = float(np.exp(self._random(person.participant_id, "head").normal(0, spec["head_size_sd"])))
        decades = max(0.0, person.age - AGE_ONSET) / 10
        disease = self._random(person.participant_id, "disease")
        return Body(
            displacement=warp,
            head_size=size * (MALE_HEAD_SIZE if person.sex == "M" else 1.0),
            grey_matter_loss=spec["age_loss"] * decades,
            ventricle_mm=spec["age_ventricle_mm"] * decades,
            strengths=draw_strengths(self.effect, person.stage, disease) if person.patient or as_patient else {},
        )

    def scan(self, person: Person, scan_id: str) -> RawScan:
        """Return one scan of a person, with its exact truth, and the log-Jacobian of its cure if that is kept."""
        body = self.body(person)
        scan = render(self.anatomy, body, self._appearance(person, scan_id), self.effect)
        if not (self.spec["keep_log_jacobian"] and person.patient):
            return scan
        return replace(scan, truths={LOG_JACOBIAN: regained(self.anatomy, body, self.effect)})

    def counterfactual(self, scan_id: str) -> Counterfactual:
        """Return how one scan would look in the other group (see `CounterfactualSource.counterfactual`)."""
        person = person_of(scan_id, self.spec["n_participants"], self.person)
        return self._redrawn(person, scan_id)

    def _redrawn(self, person: Person, scan_id: str) -> Counterfactual:
        body, appearance = self.body(person, as_patient=True), self._appearance(person, scan_id)
        return redrawn(self.anatomy, body, appearance, self.effect, patient=person.patient)

    def _appearance(self, person: Person, scan_id: str) -> Appearance:
        """Return what the scanner adds to one scan."""
        spec, anatomy = self.spec, self.anatomy
        shape, spacing = anatomy.grid.shape, anatomy.grid.voxel_sizes
        other_scanner = spec["confounder"] == "site" and person.site == "B"
        pattern = None
        if self._suppressor is not None:
            pattern = self._suppressor * np.float32(self._suppressor_score(scan_id))
        field = random_field(shape, spacing, spec["bias_scale_mm"], self._random(scan_id, "bias"))
        noise = self._random(scan_id, "noise").standard_normal(shape, dtype=np.float32)
        return Appearance(
            bias=np.exp(spec["bias"] * field),
            noise=noise * np.float32(spec["noise"] * anatomy.bright),
            gain=spec["site_gain"] if other_scanner else 1.0,
            contrast=spec["site_contrast"] if other_scanner else 1.0,
            overlay=self._tag if person.site == "B" else None,
            pattern=pattern,
        )

    def _row(self, person: Person, scan_id: str, visit: int) -> dict[str, Any]:
        row: dict[str, Any] = {
            "scan_id": scan_id,
            "participant_id": person.participant_id,
            "diagnosis": self.classes[int(person.patient)],
            "target": int(person.patient),
            "age": round(person.age, 1),
            "sex": person.sex,
            "site": person.site,
            "visit": visit,
            "severity": round(person.severity, 4),
        }
        if self.spec["disorder"] == "alzheimers":
            row["mmse"] = person.mmse
        if self._suppressor is not None:
            row["suppressor"] = round(self._suppressor_score(scan_id), 4)
        return row

    def _suppressor_score(self, scan_id: str) -> float:
        """Return how strongly the nuisance pattern shows in one scan; it knows nothing of the diagnosis."""
        return float(self._random(scan_id, "suppressor").standard_normal())

    def _suppressor_pattern(self) -> np.ndarray:
        """Return the nuisance pattern on the grey matter of the effect and of one area without any effect."""
        free = self.spec["suppressor_area"]
        if free in self.effect.regions:
            raise ConfigError(
                f"'{free}' carries the effect, so it cannot be the area without signal.",
                field="suppressor_area",
                remedy="choose an area outside regions and off_prior_regions.",
            )
        labels = [*(label for pair in self.effect.regions.values() for label in pair), *labels_of(free)]
        amplitude = np.float32(self.spec["suppressor_amplitude"] * self.anatomy.bright)
        return np.isin(self.anatomy.labels, labels) * self.anatomy.grey_matter * amplitude

    def _random(self, *keys: object) -> np.random.Generator:
        return generator(self.seed, "phantom", *keys)


def template_anatomy(resolution_mm: float, margin_voxels: int) -> Anatomy:
    """Return the template brain at a resolution, cropped to its bounding box and a margin."""
    template = mni_template(resolution_mm, margin_voxels)
    labels = embedded_atlas(template.grid, template.grey_matter)
    ventricle = np.isin(labels, labels_of("Lateral ventricle")).astype(np.float32)
    spacing = template.grid.voxel_sizes
    smooth = ndimage.gaussian_filter(ventricle, [VENTRICLE_SMOOTHING_MM / 2.355 / size for size in spacing])
    # A negative contraction of one millimetre: the ventricle expands.
    widening = exponential(contraction_velocity(smooth, spacing, VENTRICLE_SMOOTHING_MM, -1.0))
    return Anatomy(
        grid=template.grid,
        intensity=template.intensity,
        grey_matter=template.grey_matter,
        labels=labels,
        fluid=template.fluid,
        bright=template.bright,
        ventricles=widening,
    )


def _ball(anatomy: Anatomy, position: list[float]) -> np.ndarray:
    """Return a soft ball at a world position (mm), 1 in its middle."""
    distance = np.linalg.norm(anatomy.grid.coordinates() - np.asarray(position), axis=-1)
    return np.exp(-0.5 * (distance / (TAG_RADIUS_MM / 2)) ** 2).astype(np.float32)
