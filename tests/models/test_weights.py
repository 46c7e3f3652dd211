"""Weights on disk: whole, the same bytes for the same weights, and never a pickle that runs code."""

from __future__ import annotations

import pickle

import pytest
import torch

from heatproof.errors import UnsupportedModelError
from heatproof.models import NetworkSpec, build, load_foreign_weights, load_weights, save_weights

SPEC = NetworkSpec("wang_b", (30, 28), parameters={"width": 4, "n_blocks": 2})
INPUTS = torch.randn(2, 1, 30, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "spec", [SPEC, NetworkSpec("resnet", (30, 28), parameters={"width": 4})], ids=["wang_b", "resnet"]
)
def test_a_network_read_from_disk_computes_the_same_numbers(tmp_path, spec):
    network = spec.build(5).eval()
    digest = save_weights(network, tmp_path / "model.safetensors", spec, {"fold": 2})
    loaded = load_weights(tmp_path / "model.safetensors")
    assert torch.equal(loaded.module(INPUTS), network(INPUTS))
    assert (loaded.spec, loaded.metadata, loaded.sha256) == (spec, {"fold": 2}, digest)
    assert not loaded.module.training


def test_equal_weights_give_equal_bytes_whatever_their_memory_format(tmp_path):
    facts = {f"fact {index}": index for index in range(20)}
    first = save_weights(SPEC.build(1), tmp_path / "a.safetensors", SPEC, facts)
    channels_last = SPEC.build(1).to(memory_format=torch.channels_last)
    assert save_weights(channels_last, tmp_path / "b.safetensors", SPEC, facts) == first


def test_a_truncated_file_and_a_file_of_another_network_are_refused_by_name(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(SPEC.build(), path, NetworkSpec("wang_b", (30, 28), parameters={"width": 5, "n_blocks": 2}))
    with pytest.raises(UnsupportedModelError, match=r"model\.safetensors.*do not fit"):
        load_weights(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnsupportedModelError, match=r"model\.safetensors.*cannot be read"):
        load_weights(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.safetensors"
    digest = save_weights(SPEC.build(), path, SPEC)
    with pytest.raises(TypeError):
        save_weights(SPEC.build(9), path, SPEC, {"not json": object()})
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_weights(path).sha256 == digest


def test_foreign_weights_are_matched_by_order_where_the_names_differ(tmp_path):
    donor = SPEC.build(7)
    renamed = {f"layer.{index}": tensor for index, tensor in enumerate(donor.state_dict().values())}
    torch.save({"state_dict": renamed}, tmp_path / "theirs.pt")
    network = SPEC.build(8)
    load_foreign_weights(network, tmp_path / "theirs.pt")
    assert torch.equal(network.eval()(INPUTS), donor.eval()(INPUTS))


def test_foreign_weights_of_another_shape_are_refused(tmp_path):
    torch.save(build("wang_b", shape=(30, 28), width=5, n_blocks=2).state_dict(), tmp_path / "theirs.pt")
    with pytest.raises(UnsupportedModelError, match="initial_weights"):
        load_foreign_weights(SPEC.build(), tmp_path / "theirs.pt")


class Bomb:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('bomb-went-off').touch()",))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_foreign_file_never_runs(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    if how == "torch":
        torch.save({"state_dict": Bomb()}, "theirs.pt")
    else:
        (tmp_path / "theirs.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsupportedModelError, match="cannot be read safely"):
        load_foreign_weights(SPEC.build(), "theirs.pt")
    assert not (tmp_path / "bomb-went-off").exists()
