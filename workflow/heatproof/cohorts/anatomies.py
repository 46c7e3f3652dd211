"""Real anatomies: T1 scans in MNI space, some people's with the injected atrophy of a disorder.

The effect acts on each brain's own labelled areas (or on the embedded atlas where there are no label
volumes), through the same operator as the phantom's, so a real scan gets an exact truth. Variants of a scan
(a small warp, another field, other noise) make many scans of few people; all of them keep their person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from heatproof.cohorts.anatomy_files import AnatomyFiles, first_grid, have_labels, list_files, read_label_names
from heatproof.cohorts.counterfactuals import Counterfactual, CounterfactualSource, unknown_scan
from heatproof.cohorts.deformations import random_field, random_warp
from heatproof.cohorts.disorders import DISORDERS, anatomy_regions
from heatproof.cohorts.groups import Assignment, assign, check_severities
from heatproof.cohorts.images import ImageHeader, read_header, read_values
from heatproof.cohorts.simulation import Anatomy, Appearance, Body, redrawn, regained, render
from heatproof.cohorts.store import LOG_JACOBIAN, RawScan, Record
from heatproof.cohorts.templates import BRAIN_SHARE, Template, crop_box, crop_template, mni_template_on
from heatproof.errors import ConfigError, IntakeError
from heatproof.geometry import Grid, resample
from heatproof.randomness import generator
from heatproof.truths.embedded_atlas import area_names, embedded_atlas, labels_of
from heatproof.truths.injected import Effect, draw_strengths

# Fluid and white matter are read off a brain as these percentiles of its intensities.
FLUID_PERCENTILE, BRIGHT_PERCENTILE = 3.0, 90.0


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> CounterfactualSource:
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
    return CounterfactualSource(
        grid=anatomies.grid,
        records=anatomies,
        classes=anatomies.classes,
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
        redraw=anatomies.counterfactual,
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
        check_severities(spec)
        self.classes = DISORDERS[spec["disorder"]].classes
        self.spec, self.seed = {**spec, "regions": anatomy_regions(spec)}, seed
        self.files = list_files(spec, root)
        self.labelled = have_labels(self.files)
        self._native = first_grid(self.files)
        self.template: Template = self._target_template()
        self.grid = self.template.grid
        self.atlas = embedded_atlas(self.grid, self.template.grey_matter)
        self.label_names = read_label_names(self.spec, root) if self.labelled else area_names()
        self.effect = self._effect()
        self.assignments = assign(self.files, spec, seed)
        # Records come scan by scan, so the last brain is nearly always the one that is needed next.
        self._brain = lru_cache(maxsize=2)(self._read_anatomy)

    def __len__(self) -> int:
        groups = 2 if self.spec["design"] == "paired" else 1
        return len(self.files) * groups * self.spec["n_variants"]

    def __iter__(self) -> Iterator[Record]:
        for index, patient, row in self._listed():
            load = partial(self.scan, index, patient, row["scan_id"])
            yield Record(row, load, self.files[index].shown)

    def scan(self, index: int, patient: bool, scan_id: str) -> RawScan:
        """Return one variant of one real scan, with or without the effect, and its exact truth."""
        body, appearance = self._drawn(index, scan_id, diseased=patient)
        scan = render(self._brain(index), body, appearance, self.effect)
        if not (self.spec["keep_log_jacobian"] and patient):
            return scan
        return replace(scan, truths={LOG_JACOBIAN: regained(self._brain(index), body, self.effect)})

    def counterfactual(self, scan_id: str) -> Counterfactual:
        """Return how one scan would look in the other group (see `CounterfactualSource.counterfactual`)."""
        for index, patient, row in self._listed():
            if row["scan_id"] == scan_id:
                return self._redrawn(index, patient, scan_id)
        raise unknown_scan(scan_id)

    def _listed(self) -> Iterator[tuple[int, bool, dict[str, Any]]]:
        """Yield the number of the real scan, the group and the row of every record."""
        for index, files in enumerate(self.files):
            decided = self.assignments[files.participant_id]
            groups = (False, True) if self.spec["design"] == "paired" else (decided.patient,)
            for patient in groups:
                for variant in range(1, self.spec["n_variants"] + 1):
                    yield index, patient, self._row(files, decided, patient, variant)

    def _redrawn(self, index: int, patient: bool, scan_id: str) -> Counterfactual:
        body, appearance = self._drawn(index, scan_id, diseased=True)
        return redrawn(self._brain(index), body, appearance, self.effect, patient=patient)

    def _drawn(self, index: int, scan_id: str, *, diseased: bool) -> tuple[Body, Appearance]:
        """Return the warp and the appearance of one variant of one real scan, with or without the disease."""
        spec, files, anatomy = self.spec, self.files[index], self._brain(index)
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
        strengths = self._strengths(files, self.assignments[files.participant_id], anatomy) if diseased else {}
        appearance = Appearance(
            bias=np.exp(spec["bias"] * field), noise=noise * np.float32(spec["noise"] * anatomy.bright)
        )
        return Body(displacement=warp, strengths=strengths), appearance

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
        group = f"-{self.classes[int(patient)].lower()}" if self.spec["design"] == "paired" else ""
        severity = decided.severity if patient else 0.0
        return {
            "scan_id": f"{files.scan_id}{group}_v{variant}",
            "participant_id": files.participant_id,
            "diagnosis": self.classes[int(patient)],
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


def _require_grid(header: ImageHeader, native: Grid) -> None:
    if not header.grid.matches(native):
        raise IntakeError(
            f"the image (shape {header.grid.shape}) is not on the first scan's grid (shape {native.shape}).",
            file=header.path.name,
            field="affine",
            remedy="register all scans to the same template grid.",
        )
