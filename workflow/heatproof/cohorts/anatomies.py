"""Real anatomies: T1 scans in MNI space, some people's with an injected Alzheimer's atrophy.

The effect acts on each brain's own labelled areas (or on the embedded atlas where there are no label
volumes), through the same operator as the phantom's, so a real scan gets an exact truth. Variants of a scan
(a small warp, another field, other noise) make many scans of few people; all of them keep their person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from heatproof.cohorts.anatomy_files import AnatomyFiles, first_grid, list_files, read_label_names
from heatproof.cohorts.deformations import random_field, random_warp
from heatproof.cohorts.images import ImageHeader, read_header, read_values
from heatproof.cohorts.simulation import Anatomy, Appearance, Body, render
from heatproof.cohorts.store import RawScan, Record, Source
from heatproof.cohorts.templates import BRAIN_SHARE, Template, crop_box, crop_template, mni_template_on
from heatproof.errors import ConfigError, IntakeError
from heatproof.geometry import Grid, resample
from heatproof.randomness import generator
from heatproof.truths.embedded_atlas import area_names, embedded_atlas, labels_of
from heatproof.truths.injected import Effect, draw_strengths

CLASSES = ("HC", "AD")
# Fluid and white matter are read off a brain as these percentiles of its intensities.
FLUID_PERCENTILE, BRIGHT_PERCENTILE = 3.0, 90.0


@dataclass(frozen=True)
class Assignment:
    """What was decided for one person.

    Attributes
    ----------
    patient : bool
        Whether the effect is injected (unused in the paired design).
    severity : float
        Stage if a patient, 0 to 1.
    """

    patient: bool
    severity: float


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> Source:
    """Return the cohort of real anatomies that a configuration describes; scans are made when loaded.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config with its defaults filled (schema ``cohorts_simulated.yaml``).
    seed : int
        Seed of the study.
    root : Path
        Data root; the paths of the entry are relative to it and stay inside.

    Raises
    ------
    IntakeError
        If no scan is found, or a file is missing or lies on another grid.
    """
    anatomies = Anatomies(spec, seed, Path(root))
    return Source(
        grid=anatomies.grid,
        records=anatomies,
        classes=CLASSES,
        mask=anatomies.template.intensity > 0,
        template=anatomies.template.intensity,
        atlas=None if anatomies.labelled else anatomies.atlas,
        label_names=anatomies.label_names,
        description={
            "source": "anatomies",
            "seed": seed,
            "real_scans": len(anatomies.files),
            "people": len(anatomies.assignments),
            "design": spec["design"],
            "regions": list(anatomies.effect.regions),
        },
    )


class Anatomies:
    """The records of the cohort, in order of scan, group and variant; may be iterated more than once.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config.
    seed : int
        Seed of the study.
    root : Path
        Data root.
    """

    def __init__(self, spec: dict[str, Any], seed: int, root: Path) -> None:
        if spec["severity_minimum"] > spec["severity_maximum"]:
            raise ConfigError(
                "the least severity exceeds the largest.",
                field="severity_minimum",
                remedy="choose severity_minimum <= severity_maximum.",
            )
        self.spec, self.seed = spec, seed
        self.files = list_files(spec, root)
        self.labelled = _labelled(self.files)
        self._native = first_grid(self.files)
        self.template: Template = self._target_template()
        self.grid = self.template.grid
        self.atlas = embedded_atlas(self.grid, self.template.grey_matter)
        self.label_names = read_label_names(spec, root) if self.labelled else area_names()
        self.effect = self._effect()
        self.assignments = assign(self.files, spec, seed)
        # Records come scan by scan, so the last brain is nearly always the one that is needed next.
        self._brain = lru_cache(maxsize=2)(self._read_anatomy)

    def __len__(self) -> int:
        groups = 2 if self.spec["design"] == "paired" else 1
        return len(self.files) * groups * self.spec["n_variants"]

    def __iter__(self) -> Iterator[Record]:
        for index, files in enumerate(self.files):
            decided = self.assignments[files.participant_id]
            groups = (False, True) if self.spec["design"] == "paired" else (decided.patient,)
            for patient in groups:
                for variant in range(1, self.spec["n_variants"] + 1):
                    row = self._row(files, decided, patient, variant)
                    load = partial(self.scan, index, decided, patient, row["scan_id"])
                    yield Record(row, load, files.shown)

    def scan(self, index: int, decided: Assignment, patient: bool, scan_id: str) -> RawScan:
        """Return one variant of one real scan, with or without the effect, and its exact truth."""
        spec, files = self.spec, self.files[index]
        anatomy = self._brain(index)
        shape, spacing = self.grid.shape, self.grid.voxel_sizes
        warp = random_warp(
            shape,
            spacing,
            spec["variant_scale_mm"],
            spec["variant_amplitude_mm"],
            self._random(scan_id, "anatomy"),
        )
        field = random_field(shape, spacing, spec["bias_scale_mm"], self._random(scan_id, "bias"))
        noise = self._random(scan_id, "noise").standard_normal(shape, dtype=np.float32)
        strengths = self._strengths(files, decided, anatomy) if patient else {}
        appearance = Appearance(
            bias=np.exp(spec["bias"] * field), noise=noise * np.float32(spec["noise"] * anatomy.bright)
        )
        return render(anatomy, Body(displacement=warp, strengths=strengths), appearance, self.effect)

    def _strengths(self, files: AnatomyFiles, decided: Assignment, anatomy: Anatomy) -> dict[int, float]:
        """Return the strength per label of a patient, the same in every scan and variant of that person."""
        disease = self._random(files.participant_id, "disease")
        strengths = draw_strengths(self.effect, decided.severity, disease)
        missing = sorted(set(strengths) - set(np.unique(anatomy.labels).tolist()))
        if missing:
            raise IntakeError(
                f"the label volume has no voxel of area {', '.join(map(str, missing))}.",
                file=files.shown,
                field="regions",
                remedy="correct the label numbers, or leave the scan out.",
            )
        return strengths

    def _row(self, files: AnatomyFiles, decided: Assignment, patient: bool, variant: int) -> dict[str, Any]:
        group = ("-ad" if patient else "-hc") if self.spec["design"] == "paired" else ""
        severity = decided.severity if patient else 0.0
        return {
            "scan_id": f"{files.scan_id}{group}_v{variant}",
            "participant_id": files.participant_id,
            "diagnosis": CLASSES[int(patient)],
            "target": int(patient),
            "age": files.age,
            "sex": files.sex,
            "anatomy_id": files.scan_id,
            "variant": variant,
            "severity": round(severity, 4),
        }

    def _target_template(self) -> Template:
        """Return the template on the common grid: the first scan's (or isotropic), cropped to the brain."""
        grid = self._native
        resolution = self.spec["resolution_mm"]
        if resolution:
            corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1).T
            world = grid.world(corners)
            low, high = world.min(axis=0), world.max(axis=0)
            affine = np.diag([resolution, resolution, resolution, 1.0])
            affine[:3, 3] = low
            grid = Grid(tuple(int(n) for n in np.floor((high - low) / resolution) + 1), affine)
        template = mni_template_on(grid)
        return crop_template(template, self.spec["margin_voxels"]) if self.spec["crop"] else template

    def _effect(self) -> Effect:
        spec = self.spec
        if self.labelled and not all(spec["regions"].values()):
            raise ConfigError(
                "a region has no label numbers although the scans have label volumes.",
                field="regions",
                remedy="give the numbers, such as hippocampus: [47, 48].",
            )
        regions = {name: tuple(labels) if labels else labels_of(name) for name, labels in spec["regions"].items()}
        return Effect(
            regions=regions,
            region_probability=spec["region_probability"],
            loss=spec["loss"],
            contraction_mm=spec["contraction_mm"],
            smoothing_mm=spec["smoothing_mm"],
            asymmetry=spec["asymmetry"],
        )

    def _read_anatomy(self, index: int) -> Anatomy:
        files = self.files[index]
        native = np.maximum(self._read(files.scan), 0)
        # Voxels that are less than half brain stay background, so that resampling does not swell the brain.
        inside = self._resampled((native > 0).astype(np.float32), 1) >= BRAIN_SHARE
        intensity = self._resampled(native, 1) * inside
        brain = intensity[intensity > 0]
        if brain.size == 0:
            raise IntakeError("the image is zero everywhere.", file=files.shown, field="values", remedy="leave it out.")
        labels = self.atlas
        if files.labels is not None:
            labels = self._resampled(np.rint(self._read(files.labels)).astype(np.int32), 0)
        grey_matter = self.template.grey_matter
        if files.grey_matter is not None:
            grey_matter = self._resampled(self._read(files.grey_matter), 1) / self.spec["grey_matter_scale"]
            grey_matter = np.clip(grey_matter, 0, 1)
        return Anatomy(
            grid=self.grid,
            intensity=intensity,
            grey_matter=grey_matter,
            labels=labels,
            fluid=float(np.percentile(brain, FLUID_PERCENTILE)),
            bright=float(np.percentile(brain, BRIGHT_PERCENTILE)),
        )

    def _read(self, path: Path) -> np.ndarray:
        """Return the voxels of a file, which must lie on the first scan's grid."""
        header = read_header(path)
        _require_grid(header, self._native)
        return read_values(header)

    def _resampled(self, values: np.ndarray, order: int) -> np.ndarray:
        """Return a volume on the common grid."""
        box = crop_box(self._native, self.grid)
        if box is not None:
            return values[box]
        steps = [wide / fine for wide, fine in zip(self.grid.voxel_sizes, self._native.voxel_sizes, strict=True)]
        if order and max(steps) > 1.01:
            # Coarse voxels hold averages, as a scanner's would.
            values = ndimage.gaussian_filter(values, [max(0.0, step) / 2.355 for step in steps], truncate=2.0)
        return resample(values, self._native, self.grid, order=order)

    def _random(self, *keys: object) -> np.random.Generator:
        return generator(self.seed, "anatomies", *keys)


def assign(files: list[AnatomyFiles], spec: dict[str, Any], seed: int) -> dict[str, Assignment]:
    """Return who is a patient, and how ill: half of the people, one of each two neighbours in age."""
    ages: dict[str, float] = {}
    for entry in files:
        # A missing age sorts last, among its like.
        ages.setdefault(entry.participant_id, entry.age if np.isfinite(entry.age) else np.inf)
    people = sorted(ages, key=lambda name: (ages[name], name))
    decided: dict[str, Assignment] = {}
    for index, name in enumerate(people):
        pair = people[index - index % 2 : index - index % 2 + 2]
        first = generator(seed, "anatomies", "pair", *pair).integers(2)
        stage = generator(seed, "anatomies", name, "severity")
        severity = float(stage.uniform(spec["severity_minimum"], spec["severity_maximum"]))
        decided[name] = Assignment(bool(first == index % 2), severity)
    return decided


def _labelled(files: list[AnatomyFiles]) -> bool:
    """Return whether the scans have label volumes; all of them or none."""
    without = [entry.shown for entry in files if entry.labels is None]
    if without and len(without) < len(files):
        raise IntakeError(
            "the scan has no label volume although others have one.",
            file=without[0],
            field="labels_path",
            remedy="give labels for every scan, or for none.",
        )
    return not without


def _require_grid(header: ImageHeader, native: Grid) -> None:
    if not header.grid.matches(native):
        raise IntakeError(
            f"the image (shape {header.grid.shape}) is not on the first scan's grid (shape {native.shape}).",
            file=header.path.name,
            field="affine",
            remedy="register all scans to the same template grid.",
        )
