from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import heatproof
from heatproof.metrics.space import RankedMap, Space, Truth
from heatproof.metrics.transport import earth_movers_distance, move


def distance(heatmap, truth, spacing, cell=1.0):
    space = Space(np.ones(heatmap.shape, bool), spacing, cell=cell)
    return earth_movers_distance(RankedMap.of(heatmap, space), Truth.of(truth, space), space)


@pytest.mark.parametrize("shape, shift, spacing", [((30,), (4,), (2.0,)), ((12, 9), (3, 4), (1.0, 1.0)),
                                                   ((8, 8, 8), (1, 2, 2), (4.0, 4.0, 4.0))])  # fmt: skip
def test_a_moved_blob_travels_as_far_as_it_was_moved(shape, shift, spacing):
    source, target = np.zeros(shape), np.zeros(shape)
    start = tuple(slice(1, 3) for _ in shape)
    source[start] = 1
    target[tuple(slice(1 + s, 3 + s) for s in shift)] = 1
    expected = math.sqrt(sum((s * step) ** 2 for s, step in zip(shift, spacing, strict=True)))
    assert distance(source, target, spacing) == pytest.approx(expected)


def test_it_equals_a_linear_programme():
    from scipy.optimize import linprog

    rng = np.random.default_rng(0)
    places = rng.random((7, 2)) * 10
    costs = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    a, b = rng.random(7), rng.random(7)
    a, b = a / a.sum(), b / b.sum()
    rows = np.kron(np.eye(7), np.ones(7))
    columns = np.kron(np.ones(7), np.eye(7))
    solution = linprog(costs.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.r_[a, b])
    assert move(a, b, costs) == pytest.approx(solution.fun, rel=1e-7)


def test_the_truth_itself_is_at_distance_zero():
    truth = np.zeros((10, 10))
    truth[2:5, 6:9] = np.arange(9).reshape(3, 3) + 1.0
    assert distance(truth, truth, (1.0, 1.0), cell=3.0) == 0


def test_coarse_cells_change_the_distance_by_less_than_a_diagonal():
    rng = np.random.default_rng(1)
    heatmap, truth = rng.random((16, 16)) ** 6, np.zeros((16, 16))
    truth[10:14, 2:6] = 1
    exact, coarse = distance(heatmap, truth, (1.0, 1.0)), distance(heatmap, truth, (1.0, 1.0), cell=4.0)
    assert abs(exact - coarse) < 4 * math.sqrt(2)


@pytest.mark.parametrize("level", [0.0, -1.0, 3.0])
def test_a_map_without_order_is_as_far_as_the_uniform_map(level):
    truth = np.zeros((6, 6))
    truth[0, 0] = 1
    uniform = distance(np.ones((6, 6)), truth, (1.0, 1.0))
    assert distance(np.full((6, 6), level), truth, (1.0, 1.0)) == pytest.approx(uniform)


def test_nan_and_empty_truth_give_nan():
    heatmap = np.ones((4, 4))
    assert math.isnan(distance(heatmap, np.zeros((4, 4)), (1.0, 1.0)))
    heatmap[0, 0] = np.nan
    assert math.isnan(distance(heatmap, np.eye(4), (1.0, 1.0)))


def test_a_scoring_job_imports_no_network_library_and_leaves_the_environment_alone():
    code = (
        "import os, sys; before = dict(os.environ); import numpy as np;"
        "from heatproof.metrics.transport import move;"
        "assert move(np.array([1., 0]), np.array([0, 1.]), np.array([[0, 2.], [2, 0]])) == 2;"
        "import heatproof.stages.score, heatproof.stages.pool;"
        "print([name for name in ('torch', 'jax', 'tensorflow', 'nilearn', 'matplotlib') if name in sys.modules],"
        "before == dict(os.environ))"
    )
    package = {**os.environ, "PYTHONPATH": str(Path(heatproof.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=package)
    assert done.stdout.strip() == "[] True"
