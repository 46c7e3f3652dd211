from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heatproof.cohorts.templates import mni_template
from heatproof.errors import TruthError
from heatproof.geometry import Grid, resample
from heatproof.truths.embedded_atlas import (
    CENTRES,
    COURSES,
    OFF_PRIOR_AREAS,
    PRIOR_AREAS,
    area_names,
    embedded_atlas,
    labels_of,
)

ATLASES = Path(__file__).resolve().parents[3] / "shared" / "data" / "atlases_mni"


@pytest.fixture(scope="module")
def atlas():
    template = mni_template(3.0, 1)
    return template.grid, embedded_atlas(template.grid, template.grey_matter)


def volume_ml(atlas, label):
    grid, labels = atlas
    return (labels == label).sum() * grid.voxel_volume / 1000


def test_every_area_has_two_sides_and_left_is_where_x_is_negative(atlas):
    grid, labels = atlas
    names = area_names()
    assert len(names) >= 80
    assert set(np.unique(labels)) == {0, *names}
    world = grid.coordinates()
    for label, name in names.items():
        x = world[labels == label][:, 0]
        assert (x < 0).all() if name.endswith("left") else (x > 0).all()


@pytest.mark.parametrize(
    ("area", "least", "most"),
    [
        ("Hippocampus", 2.5, 5.0),
        ("Amygdala", 1.0, 2.2),
        ("Thalamus", 5.0, 10.0),
        ("Posterior cingulate", 2.5, 6.5),
    ],
)
def test_volumes_are_plausible(atlas, area, least, most):
    for label in labels_of(area):
        assert least < volume_ml(atlas, label) < most


def test_the_sides_mirror_each_other(atlas):
    for area in [*COURSES, *CENTRES]:
        left, right = (volume_ml(atlas, label) for label in labels_of(area))
        assert right == pytest.approx(left, rel=0.15, abs=0.3)


def test_part_of_the_effect_lies_off_the_prior():
    assert not set(PRIOR_AREAS) & set(OFF_PRIOR_AREAS)
    assert set(PRIOR_AREAS) | set(OFF_PRIOR_AREAS) <= {*COURSES, *CENTRES}


def test_a_flipped_grid_gets_the_same_areas_at_the_same_places(atlas):
    template = mni_template(3.0, 1)
    affine = np.array(template.grid.affine)
    affine[:3, 3] += affine[:3, 0] * (template.grid.shape[0] - 1)
    affine[:3, 0] *= -1
    flipped = embedded_atlas(Grid(template.grid.shape, affine), template.grey_matter[::-1])
    np.testing.assert_array_equal(flipped[::-1], atlas[1])


def test_an_unknown_area_is_an_error_that_lists_the_areas():
    with pytest.raises(TruthError, match="Hippocampus, Entorhinal cortex"):
        labels_of("Hipocampus")


def read(path):
    import nibabel

    image = nibabel.load(path)
    values = np.rint(np.asarray(image.dataobj)).astype(np.int32)
    return Grid(values.shape, image.affine), values


@pytest.mark.real_data
@pytest.mark.skipif(not ATLASES.exists(), reason="the reference atlases are not on this machine")
class TestAgainstReferenceAtlases:
    AAL = {
        "Hippocampus": "Hippocampus",
        "Amygdala": "Amygdala",
        "Posterior cingulate": "Cingulum_Post",
        "Precuneus": "Precuneus",
        "Angular gyrus": "Angular",
        "Middle temporal gyrus": "Temporal_Mid",
        "Inferior temporal gyrus": "Temporal_Inf",
        "Temporal pole": "Temporal_Pole_Mid",
        "Superior frontal gyrus": "Frontal_Sup",
        "Thalamus": "Thalamus",
        "Putamen": "Putamen",
        "Caudate": "Caudate",
        "Insula": "Insula",
        "Fusiform gyrus": "Fusiform",
        "Cuneus": "Cuneus",
        "Precentral gyrus": "Precentral",
        "Postcentral gyrus": "Postcentral",
        "Transverse temporal gyrus": "Heschl",
    }
    # FreeSurfer numbers, left and right.
    FREESURFER = {
        "Hippocampus": (17, 53),
        "Amygdala": (18, 54),
        "Entorhinal cortex": (1006, 2006),
        "Parahippocampal gyrus": (1016, 2016),
    }

    def test_centres_agree_with_aal(self, atlas):
        grid, labels = atlas
        aal_grid, aal = read(ATLASES / "aal" / "ROI_MNI_V4.nii.gz")
        numbers = {}
        for line in (ATLASES / "aal" / "ROI_MNI_V4.txt").read_text().splitlines():
            _, name, number = line.split()[:3]
            numbers[name] = int(number)
        for area, name in self.AAL.items():
            for label, side in zip(labels_of(area), "LR", strict=True):
                ours = grid.world(np.argwhere(labels == label)).mean(axis=0)
                theirs = aal_grid.world(np.argwhere(aal == numbers[f"{name}_{side}"])).mean(axis=0)
                assert np.linalg.norm(ours - theirs) < 8, (area, side)

    def test_the_medial_temporal_lobe_overlaps_with_desikan_killiany(self, atlas):
        grid, labels = atlas
        other_grid, other = read(ATLASES / "dk_mni152" / "aparc+aseg_182x218x182.nii.gz")
        other = resample(other, other_grid, grid, order=0)
        for area, numbers in self.FREESURFER.items():
            for label, number in zip(labels_of(area), numbers, strict=True):
                ours, theirs = labels == label, other == number
                dice = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
                # Thin cortex next to the medial temporal lobe overlaps less than the compact nuclei.
                assert dice > (0.4 if area in ("Hippocampus", "Amygdala") else 0.25), (area, label)
                distance = np.linalg.norm(
                    grid.world(np.argwhere(ours)).mean(axis=0) - grid.world(np.argwhere(theirs)).mean(axis=0)
                )
                assert distance < 8
