"""Every method against its slow oracle, its identities and an installed peer, over one to three axes."""

from __future__ import annotations

import pytest
import torch

from attribution.evidence import deviation
from attribution.evidence.catalogue import EVIDENCE
from attribution.networks import FITTED, scans
from heatproof.attribution import METHODS, attribute

AXES = (1, 2, 3)


def test_every_method_has_evidence():
    assert set(EVIDENCE) == set(METHODS) - set(FITTED)
    for name, evidence in EVIDENCE.items():
        assert evidence.oracle or evidence.identities, name


def oracle_errors(name: str, n_axes: int) -> list[float]:
    """Return the deviation of a method's map from its oracle's, scan by scan."""
    evidence = EVIDENCE[name]
    model, inputs, targets = evidence.model(n_axes), scans(n_axes, 2), (0, 1)
    more = {**evidence.parameters, **evidence.context(n_axes)}
    keys = ["sub-a", "sub-b"]
    found = attribute(name, model, inputs, torch.tensor(targets), scan_keys=keys, seed=4, **more)
    errors = []
    for scan, target, one, key in zip(inputs, targets, found, keys, strict=True):
        random = {"scan_key": key, "seed": 4} if "seed" in METHODS[name].context else {}
        expected = evidence.oracle(model, scan, target, **more, **random)
        assert one.shape == expected.shape
        errors.append(deviation(one, expected))
    return errors


@pytest.mark.parametrize("n_axes", AXES)
@pytest.mark.parametrize("name", [name for name, evidence in EVIDENCE.items() if evidence.oracle])
def test_equals_its_slow_oracle(name, n_axes):
    assert max(oracle_errors(name, n_axes)) < EVIDENCE[name].oracle_tolerance


@pytest.mark.parametrize("n_axes", AXES)
@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, evidence in EVIDENCE.items() for number in range(len(evidence.identities))],
)
def test_identity_holds(name, number, n_axes):
    identity = EVIDENCE[name].identities[number]
    assert identity.error(n_axes) < identity.tolerance, identity.name


def peer_error(name: str, n_axes: int) -> float:
    """Return the deviation of a method's maps from its peer's."""
    evidence = EVIDENCE[name]
    peer = evidence.peer
    model, inputs = evidence.model(n_axes), scans(n_axes, 2)
    expected = peer.call(model, inputs, 1)
    found = attribute(name, model, inputs, 1, **{**evidence.context(n_axes), **peer.parameters})
    if peer.relation == "proportional":
        found, expected = unit_range(found), unit_range(expected.to(found))
    return deviation(found, expected.to(found))


@pytest.mark.parametrize("n_axes", AXES)
@pytest.mark.parametrize("name", [name for name, evidence in EVIDENCE.items() if evidence.peer])
def test_equals_its_peer(name, n_axes):
    peer = EVIDENCE[name].peer
    if n_axes not in peer.axes or peer.relation == "none":
        pytest.skip(peer.note)
    try:
        error = peer_error(name, n_axes)
    except ImportError as reason:
        pytest.skip(f"{peer.library} is not installed: {reason}")
    assert error < peer.tolerance


def unit_range(maps: torch.Tensor) -> torch.Tensor:
    """Return each map scaled to 0..1."""
    flat = maps.flatten(1)
    least, most = flat.min(1, keepdim=True).values, flat.max(1, keepdim=True).values
    return ((flat - least) / (most - least).clamp(min=1e-12)).reshape(maps.shape)
