from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from heatproof.errors import ConfigError
from heatproof.metrics import METRICS, register
from heatproof.metrics.evaluate import Evaluator, evaluator, names_at
from heatproof.metrics.space import RankedMap, Space, Truth

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "metrics.yaml"


def test_the_schema_offers_exactly_the_registered_metrics():
    names = yaml.safe_load(SCHEMA.read_text())["properties"]["names"]
    assert set(names["items"]["enum"]) == set(METRICS)
    # The first two order the maps of a scan as the Dice does, the others are for signals.
    on_request = {"iou_at_size", "max_iou", "weighted_precision", "weighted_recall", "time_distance", "lead_accuracy",
                  "lead_overlap", "signed_cosine", "correlation"}  # fmt: skip
    assert set(names["default"]) == set(METRICS) - on_request


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_needs_and_where_it_comes_from(name):
    metric = METRICS[name]
    assert metric.citation and metric.unit and metric.needs
    space = Space(np.ones((6, 6), bool), (math.inf if "leads" in metric.needs else 1.0, 1.0), cell=1.0)
    effect = np.zeros((6, 6))
    effect[2, 1:3] = effect[4, 2] = 1
    truth, ranked = Truth.of_effect(effect, space, 0.05, effect), RankedMap.of(effect, space, effect)
    chance = metric.chance_level(truth, space)
    best = metric.function(*([ranked] + [truth] * ("truth" in metric.needs) + [space]))
    if "truth" in metric.needs:
        assert best > chance if metric.larger_is_better else best < chance


def test_a_name_is_taken_once_and_needs_are_known():
    with pytest.raises(ValueError, match="twice"):
        register("auroc", needs=("truth",), chance="none", citation="")(lambda heatmap: 0.0)
    with pytest.raises(ValueError, match="needs"):
        register("new", needs=("money",), chance="none", citation="")(lambda heatmap: 0.0)


def test_an_unknown_metric_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"metrics.names.*'iou' is not a metric"):
        Evaluator(Space(np.ones((2, 2), bool), (1.0, 1.0)), ("iou",))


def test_metrics_can_be_limited_to_levels():
    spec = {"names": ["auroc", "earth_movers_distance"], "only_at": {"earth_movers_distance": ["group"]},
            "edge_mm": 1, "cell_mm": 1, "n_thresholds": 5}  # fmt: skip
    assert names_at(spec, "scan") == ("auroc",)
    assert names_at(spec, "group") == ("auroc", "earth_movers_distance")
    assert evaluator(spec, "scan", np.ones((2, 2), bool), (1.0, 1.0)).names == ("auroc",)
