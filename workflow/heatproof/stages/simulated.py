"""Reads the simulated scans that the stage `simulate` has kept for figures and report."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from heatproof.figures.simulated import Simulated, SimulatedScan


def read_simulated(path: Path) -> list[SimulatedScan]:
    """Return the first scan of each direction of ``simulations.h5``, with what every simulator made of it.

    Parameters
    ----------
    path : Path
        Of one network. Figures show a scan per direction, and all doses of a volume are large, so no more are read.
    """
    found: dict[str, SimulatedScan] = {}
    with h5py.File(path, "r") as file:
        model, output = str(file.attrs["model"]), str(file.attrs["output"])
        for entry in file.values():
            direction = str(entry.attrs["direction"])
            simulators = {name: part for name, part in entry.items() if isinstance(part, h5py.Group)}
            if direction in found or not simulators:
                continue
            found[direction] = SimulatedScan(
                scan_id=str(entry.attrs["scan_id"]),
                model=model,
                diagnosis=str(entry.attrs["diagnosis"]),
                predicted=str(entry.attrs["predicted"]),
                direction=direction,
                image=entry["image"][:],
                doses=tuple(map(float, next(iter(simulators.values())).attrs["doses"])),
                answer=float(entry.attrs["answer"]),
                simulated={name: _simulated(part) for name, part in simulators.items()},
                exact_change=_values(entry, "exact_change"),
                exact_log_jacobian=_values(entry, "exact_log_jacobian"),
                effect=_values(entry, "effect"),
                output=output,
            )
    return list(found.values())


def _simulated(part: h5py.Group) -> Simulated:
    return Simulated(
        part["change"][:], part["answers"][:], _values(part, "displacement"), _values(part, "log_jacobian")
    )


def _values(entry: h5py.Group, name: str) -> np.ndarray | None:
    return entry[name][:] if name in entry else None
