"""The loop: it learns, it stops early, and a killed training ends as an uninterrupted one, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from heatproof.errors import HeatproofError
from heatproof.models import NetworkSpec
from heatproof.training import FoldParts, ScanLoader, Trainer, TrainingSettings
from heatproof.training import loop as loop_module

SPEC = NetworkSpec("wang_b", (18, 16), parameters={"width": 4, "n_blocks": 2})
SETTINGS = TrainingSettings(
    epochs=6,
    batch_size=4,
    learning_rate=3e-3,
    schedule="one_cycle",
    patience=None,
    flip_probability=0.3,
    shift_voxels=1,
    batch_norm_momentum=0.3,
    class_weights="balanced",
)


class Store:
    """Images whose patients have a dark square."""

    channels = 1

    def __init__(self, n_scans: int = 34, effect: float = 2.0) -> None:
        random = np.random.default_rng(0)
        self.mask = np.ones((18, 16), bool)
        self.images = {}
        for index in range(n_scans):
            image = random.normal(size=(1, 18, 16))
            image[:, 6:11, 5:10] -= effect * (index % 2)
            self.images[f"s{index:02d}"] = image.astype(np.float32)
        self.targets = {name: index % 2 for index, name in enumerate(self.images)}
        names = list(self.images)
        self.parts = FoldParts(names[:22], names[22:28], names[28:])

    def scan(self, scan_id: str) -> np.ndarray:
        return self.images[scan_id]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(settings: TrainingSettings = SETTINGS, seed: int = 1, store: Store | None = None) -> Trainer:
    store = store or Store()
    return Trainer(SPEC.build(seed), ScanLoader(store), store.parts, store.targets, settings, seed)


def weights(trained: Trainer) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in trained.network.state_dict().values()]


def moments(trained: Trainer) -> list[torch.Tensor]:
    states = [trained.optimizer.state[parameter] for parameter in trained.network.parameters()]
    return [state[name] for state in states for name in sorted(state)]


def assert_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_a_visible_effect_is_learned_and_found_in_scans_never_seen():
    store = Store(effect=3.0)
    trained = trainer(replace(SETTINGS, epochs=15), store=store)
    trained.fit()
    predicted = trained.predict("test").argmax(1)
    assert predicted.tolist() == [store.targets[name] for name in store.parts.test]


def test_the_same_seed_gives_the_same_bits_whatever_the_global_random_state():
    first, second = trainer(), trainer()
    first.fit()
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    second.fit()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert_equal(weights(first), weights(second))


def test_another_seed_gives_another_order_and_other_weights():
    first, second = trainer(seed=1), trainer(seed=2)
    first.fit()
    second.fit()
    assert not torch.equal(weights(first)[0], weights(second)[0])


@pytest.mark.parametrize("epoch", [1, 3, 5])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_training_killed_after_any_epoch_goes_on_bit_for_bit(tmp_path, monkeypatch, epoch, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer)
    whole = trainer(settings)
    expected = whole.fit()
    checkpoint = tmp_path / "checkpoint.safetensors"

    class Killed(BaseException):
        pass

    save = loop_module.save_checkpoint

    def save_then_die(path, network, optimiser, progress, digest):
        save(path, network, optimiser, progress, digest)
        if progress.epoch == epoch:
            raise Killed

    monkeypatch.setattr(loop_module, "save_checkpoint", save_then_die)
    with pytest.raises(Killed):
        trainer(settings).fit(checkpoint, "this training")
    monkeypatch.setattr(loop_module, "save_checkpoint", save)
    torch.rand(5)
    resumed = trainer(settings)
    fitted = resumed.fit(checkpoint, "this training")
    assert fitted.resumed_from == epoch
    assert fitted.history == expected.history
    assert fitted.best_epoch == expected.best_epoch
    assert_equal(weights(resumed), weights(whole))
    assert_equal(moments(resumed), moments(whole))
    assert checkpoint.exists()  # the caller removes it once the weights are written


@pytest.mark.parametrize("momentum", [0.0, 0.93949])
def test_sgd_steps_along_the_gradient_and_takes_a_share_of_the_last_step_again(momentum):
    store = Store()
    settings = replace(
        SETTINGS,
        epochs=3,
        batch_size=len(store.parts.train),
        learning_rate=0.05,
        schedule="constant",
        optimizer="sgd",
        momentum=momentum,
        weight_decay=0.01,
        flip_probability=0.0,
        shift_voxels=0,
    )
    # Without dropout nothing is random, and with one batch an epoch the order does not matter.
    spec = replace(SPEC, parameters={**SPEC.parameters, "dropout": 0.0})
    trained = Trainer(spec.build(1), ScanLoader(store), store.parts, store.targets, settings, 1)
    network = spec.build(1).train()
    loader = ScanLoader(store)
    inputs = torch.stack([loader.scan(name, "train") for name in store.parts.train])
    targets = torch.tensor([store.targets[name] for name in store.parts.train])
    steps = [torch.zeros_like(parameter) for parameter in network.parameters()]
    expected = []
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(network(inputs), targets, weight=trained._weights)
        expected.append(float(loss.detach()))
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient, step in zip(parameters, gradients, steps, strict=True):
                step.copy_(momentum * step + gradient + 0.01 * parameter)
                parameter -= 0.05 * step
    history = trained.fit().history
    assert [row["train_loss"] for row in history] == pytest.approx(expected, rel=1e-4)


def test_a_network_with_weights_that_are_not_trained_resumes_too(tmp_path):
    spec = NetworkSpec("inception_v3", (75,), parameters={"width_share": 0.05})
    store = Store()
    store.images = {name: np.resize(image, (1, 75)) for name, image in store.images.items()}
    store.mask = np.ones(75, bool)
    settings = replace(SETTINGS, epochs=2, schedule="constant", optimizer="sgd", shift_voxels=0)

    def start() -> Trainer:
        return Trainer(spec.build(1), ScanLoader(store), store.parts, store.targets, settings, 1)

    whole = start()
    whole.fit()
    halfway = start()
    halfway.settings = replace(settings, epochs=1)
    halfway.fit(tmp_path / "checkpoint.safetensors", "this training")
    resumed = start()
    assert resumed.fit(tmp_path / "checkpoint.safetensors", "this training").resumed_from == 1
    assert_equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("damage", ["other training", "truncated"])
def test_a_checkpoint_that_does_not_belong_is_not_used(tmp_path, damage):
    checkpoint = tmp_path / "checkpoint.safetensors"
    other = trainer(seed=5)
    history = other.fit().history[:2]
    loop_module.save_checkpoint(
        checkpoint, other.network, other.optimizer, loop_module.Progress(2, history=history), "one"
    )
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    fresh = trainer()
    expected = fresh.fit()
    fitted = trainer().fit(checkpoint, "one" if damage == "truncated" else "another")
    assert fitted.resumed_from == 0
    assert fitted.history == expected.history


def test_the_weights_of_the_lowest_validation_loss_are_kept():
    trained = trainer(replace(SETTINGS, epochs=8, schedule="constant", learning_rate=0.02))
    fitted = trained.fit()
    losses = [row["validation_loss"] for row in fitted.history]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1
    assert trained._validate()[0] == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.parametrize(("patience_after", "expected"), [(0, 3), (6, 8)])
def test_patience_is_counted_from_the_best_epoch_or_the_epoch_named(monkeypatch, patience_after, expected):
    trained = trainer(replace(SETTINGS, epochs=20, patience=2, patience_after=patience_after))
    losses = iter([1.0, *[2.0] * 19])
    monkeypatch.setattr(trained, "_validate", lambda: (next(losses), 0.5))
    fitted = trained.fit()
    assert len(fitted.history) == expected
    assert fitted.best_epoch == 1


def test_no_epochs_keep_the_initial_weights():
    trained = trainer(replace(SETTINGS, epochs=0))
    assert trained.fit().best_epoch == 0
    assert_equal(weights(trained), list(SPEC.build(1).state_dict().values()))


def test_test_scans_are_never_read_while_training():
    trained = trainer()
    trained.fit()
    parts = trained.parts
    assert set(trained.loader.reads) == {"train", "validation"}
    assert set(trained.loader.reads["train"]) == set(parts.train)
    assert set(trained.loader.reads["validation"]) == set(parts.validation)


def test_every_training_scan_is_used_once_an_epoch_and_no_batch_is_left_with_one_scan():
    store = Store()
    settings = replace(SETTINGS, epochs=1, batch_size=7)
    trained = trainer(settings, store=store)
    sizes = []
    trained.network.register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0])) if module.training else None
    )
    trained.fit()
    assert set(trained.loader.reads["train"].values()) == {1}
    assert sorted(sizes) == [5, 5, 6, 6]


def test_a_loss_that_is_no_longer_finite_stops_with_the_epoch():
    store = Store()
    store.images["s05"][0, 0, 0] = np.nan
    loader = ScanLoader(store, "none")
    with pytest.raises(HeatproofError, match="epoch 1.*lower the learning rate"):
        Trainer(SPEC.build(0), loader, store.parts, store.targets, SETTINGS, 0).fit()


def test_memory_format_changes_nothing_but_rounding():
    results = []
    for memory_format in ("contiguous", "channels_last"):
        trained = trainer(replace(SETTINGS, epochs=2, memory_format=memory_format))
        trained.fit()
        results.append(trained.predict("validation"))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


def test_bfloat16_learns_too_and_keeps_float32_weights():
    trained = trainer(replace(SETTINGS, epochs=2, precision="bfloat16"))
    fitted = trained.fit()
    assert np.isfinite([row["train_loss"] for row in fitted.history]).all()
    assert weights(trained)[0].dtype == torch.float32
