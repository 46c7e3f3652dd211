"""Solve the sparse, symmetric and positive definite equations of an imputation, all channels at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# On one axis the factors of an elimination are as sparse as the equations; on more they fill up.
MOST_AXES_TO_ELIMINATE = 1
# Edge of the cells, in voxels, over which the coarse correction is constant.
CELL = 6
# Residual as a share of the right-hand side; the noise of the imputation is orders of magnitude larger.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Equations:
    """One equation per unknown voxel.

    Attributes
    ----------
    matrix : csr_array, shape (n, n)
        Symmetric and positive definite.
    known : ndarray, shape (n, C)
        Right-hand side of each channel.
    places : ndarray of int, shape (n, n_axes)
        Where the unknowns lie on the grid.
    """

    matrix: csr_array
    known: np.ndarray
    places: np.ndarray


def solve(equations: Equations) -> np.ndarray:
    """Return the unknowns, shape (n, C): by elimination on one axis, else by conjugate gradients."""
    if equations.places.shape[1] <= MOST_AXES_TO_ELIMINATE:
        return factorised(equations.matrix)(equations.known)
    precondition = two_level(equations)
    channels = [conjugate_gradients(equations.matrix, known, precondition) for known in equations.known.T]
    return np.stack(channels, axis=1)


def factorised(matrix: csr_array) -> Callable[[np.ndarray], np.ndarray]:
    """Return the solver of a symmetric positive definite matrix, factorised once for any number of channels."""
    from scipy.sparse.linalg import splu

    # Without pivoting, and ordered for symmetric matrices: a fraction of the default's fill.
    return splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    ).solve


def two_level(equations: Equations) -> Callable[[np.ndarray], np.ndarray]:
    """Return a preconditioner: each unknown by itself, plus one correction per cell of `CELL` voxels along an axis.

    The cells carry what changes slowly over a large hole, which conjugate gradients alone need as many rounds for as
    the hole is wide (additive two-level scheme, Nicolaides, SIAM J Numer Anal 1987;24:355).
    """
    from scipy.sparse import csr_array

    corners = equations.places // CELL
    cells, cell = np.unique(np.ravel_multi_index(tuple(corners.T), corners.max(axis=0) + 1), return_inverse=True)
    n_unknown = len(cell)
    spread = csr_array((np.ones(n_unknown), cell, np.arange(n_unknown + 1)), shape=(n_unknown, len(cells)))
    gather = spread.T.tocsr()
    coarse = factorised(gather @ equations.matrix @ spread)
    inverse = 1 / equations.matrix.diagonal()
    return lambda residual: inverse * residual + spread @ coarse(gather @ residual)


def conjugate_gradients(
    matrix: csr_array, known: np.ndarray, precondition: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the unknowns of one channel by preconditioned conjugate gradients, shape (n,)."""
    solution = np.zeros_like(known)
    residual = known.copy()
    enough = TOLERANCE**2 * _product(known, known)
    direction = towards = precondition(residual)
    decrease = _product(residual, towards)
    # Exact arithmetic would end after as many rounds as there are unknowns.
    for _ in range(known.size):
        if _product(residual, residual) <= enough:
            break
        image = matrix @ direction
        step = decrease / _product(direction, image)
        solution += step * direction
        residual -= step * image
        towards = precondition(residual)
        before, decrease = decrease, _product(residual, towards)
        direction = towards + (decrease / before) * direction
    return solution


def _product(left: np.ndarray, right: np.ndarray) -> float:
    """Return the inner product, without BLAS, whose order of adding depends on the number of threads."""
    return float((left * right).sum())
