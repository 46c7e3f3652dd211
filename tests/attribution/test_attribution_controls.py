"""Controls and the maps of linear models."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import nn

from attribution.networks import SIZE, convolutional, scans
from heatproof.attribution import attribute
from heatproof.attribution.network_controls import reinitialised
from heatproof.attribution.smoothing import FWHM_PER_SIGMA, gaussian_smooth
from heatproof.errors import UnsupportedModelError
from heatproof.models.linear import LinearSVM


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_smoothing_equals_scipy(n_axes):
    inputs = scans(n_axes, 2)
    sigmas = (0, 0, *[1.5] * n_axes)
    expected = ndimage.gaussian_filter(inputs.numpy(), sigmas, mode="nearest", truncate=4.0)
    torch.testing.assert_close(gaussian_smooth(inputs, 1.5), torch.from_numpy(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_edges_equal_the_sobel_gradient(n_axes):
    inputs = scans(n_axes, 1, channels=1)
    slopes = [ndimage.sobel(inputs[0, 0].numpy(), axis, mode="nearest") for axis in range(n_axes)]
    expected = sum(slope**2 for slope in slopes) ** 0.5 / (2 * 4 ** (n_axes - 1))
    torch.testing.assert_close(attribute("edges", nn.Identity(), inputs)[0, 0], torch.from_numpy(expected))


def test_noise_is_standard_normal_and_smooth_noise_has_the_asked_width():
    inputs, width = torch.zeros(4, 1, 40, 40, 40), 5.0
    white = attribute("random_noise", nn.Identity(), inputs)
    assert abs(float(white.mean())) < 0.01 and abs(float(white.std()) - 1) < 0.01
    smooth = attribute("smooth_noise", nn.Identity(), inputs, fwhm=width)
    torch.testing.assert_close(smooth.std(dim=(1, 2, 3, 4)), torch.ones(4), rtol=1e-3, atol=0)
    # the autocorrelation of white noise smoothed by sigma falls by exp(-1 / (4 sigma^2)) over one voxel
    neighbours = (smooth[..., 1:] * smooth[..., :-1]).mean()
    expected = torch.tensor(-1 / (4 * (width / FWHM_PER_SIGMA) ** 2)).exp()
    torch.testing.assert_close(neighbours, expected, rtol=0.01, atol=0)


def test_noise_belongs_to_the_scan_key_and_not_to_its_place():
    inputs = torch.zeros(3, 1, 8, 8)
    straight = attribute("random_noise", nn.Identity(), inputs, scan_keys=["a", "b", "c"])
    alone = attribute("random_noise", nn.Identity(), inputs[:1], scan_keys=["c"])
    assert torch.equal(alone[0], straight[2])
    assert not torch.equal(straight[0], straight[1])


def test_magnitude_and_prior():
    inputs, prior = scans(2), torch.rand(SIZE[2])
    assert torch.equal(attribute("input_magnitude", nn.Identity(), inputs), inputs.abs())
    maps = attribute("anatomical_prior", nn.Identity(), inputs, prior=prior)
    assert torch.equal(maps, prior.double().expand_as(inputs))


def test_untrained_explains_the_same_architecture_with_other_weights():
    model, inputs = convolutional(2), scans(2)
    fresh = reinitialised(model, 7)
    for new, old in zip(fresh.parameters(), model.parameters(), strict=True):
        assert not torch.equal(new, old)
    assert torch.equal(fresh[1].running_mean, torch.zeros(4, dtype=torch.float64))
    first, second = reinitialised(model, 7), reinitialised(model, 8)
    assert torch.equal(first[0].weight, fresh[0].weight)
    assert not torch.equal(second[0].weight, fresh[0].weight)
    three = {"n_steps": 3}
    maps = attribute("untrained", model, inputs, 1, inner="integrated_gradients", inner_parameters=three)
    assert not torch.allclose(maps, attribute("integrated_gradients", model, inputs, 1, **three))


def test_untrained_refuses_weights_that_it_cannot_draw():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    class Container(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias, self.inner = nn.Parameter(torch.ones(1)), Own()

        def reset_parameters(self) -> None:  # vouches for its own parameter only
            self.bias.data.normal_()

    cases = (
        (nn.Sequential(nn.Linear(2, 2), Own()), "1.scale"),
        (Container(), "inner.scale"),
        (nn.Identity(), "Identity"),
    )
    for model, field in cases:
        with pytest.raises(UnsupportedModelError) as caught:
            reinitialised(model, 0)
        assert caught.value.field == field


def test_label_permuted_explains_the_other_network():
    model, permuted, inputs = convolutional(2), reinitialised(convolutional(2), 3), scans(2)
    maps = attribute("label_permuted", model, inputs, 1, inner="lrp", permuted=permuted)
    assert torch.equal(maps, attribute("lrp", permuted, inputs, 1))


def test_linear_maps_are_the_classifiers_arrays_signed_towards_the_target():
    model = LinearSVM(2, SIZE[3])
    model.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.pattern.normal_(generator=torch.Generator().manual_seed(1))
    inputs = scans(3).float()
    for name, array in (("svm_weights", model.weight), ("svm_pattern", model.pattern)):
        maps = attribute(name, model, inputs, torch.tensor([1, 0, 1]))
        assert torch.equal(maps, torch.stack([array, -array, array]))
    gradient = attribute("saliency", model, inputs, 1) - attribute("saliency", model, inputs, 0)
    torch.testing.assert_close(gradient, attribute("svm_weights", model, inputs, 1))
