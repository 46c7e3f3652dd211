"""Sleuth text: the format in which BrainMap and GingerALE exchange foci, read strictly and written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from heatproof.errors import TruthError
from heatproof.truths.foci import LARGEST_COORDINATE_MM, MNI, Experiment, space_of, subjects_of

REFERENCE = re.compile(r"^//\s*reference\s*=\s*(.*)$", re.IGNORECASE)
SUBJECTS = re.compile(r"^//\s*subjects?\s*=\s*(.*)$", re.IGNORECASE)
# "Smith et al., 2010: atrophy": the contrast begins after the year, where there is one.
STUDY_AND_CONTRAST = re.compile(r"^(?P<study>.*?(?:\b(?:19|20)\d{2}[a-z]?\b[^:;]*)?)[:;](?P<contrast>.*)$")


@dataclass
class _Block:
    """One experiment while it is being read."""

    space: str
    header: list[str] = field(default_factory=list)
    subjects: int | None = None
    rows: list[list[float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return " ".join(self.header)

    @property
    def complete(self) -> bool:
        """Whether the next name begins another experiment (one without foci is complete, too)."""
        return bool(self.rows) or self.subjects is not None


def read_sleuth(path: str | Path) -> list[Experiment]:
    """Read a Sleuth text file (see `parse_sleuth`)."""
    path = Path(path)
    return parse_sleuth(path.read_text(encoding="utf-8-sig", errors="replace"), path.name)


def parse_sleuth(text: str, file: str = "") -> list[Experiment]:
    """Return the experiments of a Sleuth text in the order of the file.

    ``// Reference=MNI`` (or Talairach), then per experiment one or more lines ``// Study: contrast``, a line
    ``// Subjects=n`` and rows of x y z in mm.

    Raises
    ------
    TruthError
        If the reference, a name or a number of subjects is missing, or a row is not three numbers in a head;
        the field names the line and the experiment.
    """
    block = _Block(space="")
    blocks: list[_Block] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        where = f"line {number}" + (f" ({block.name})" if block.name else "")
        if match := REFERENCE.match(line):
            block = _Block(space_of(match[1], file, where))
        elif match := SUBJECTS.match(line):
            block.subjects = subjects_of(match[1], file, where)
        elif line.startswith("//"):
            if not block.header or block.complete:
                block = _Block(block.space)
                blocks.append(block)
            block.header.append(line.lstrip("/").strip())
        elif line:
            _require_header(block, file, where)
            block.rows.append(_coordinate(line, file, where))
    if not blocks:
        raise TruthError("the file has no experiment.", file=file, remedy="export foci as Sleuth text.")
    return [_experiment(one, file) for one in blocks]


def _experiment(block: _Block, file: str) -> Experiment:
    _require_header(block, file, block.name)
    study, contrast = block.name, ""
    match = STUDY_AND_CONTRAST.match(block.name)
    if match is not None and match["study"].strip():
        study, contrast = match["study"].strip(), match["contrast"].strip()
    coordinates = np.array(block.rows, dtype=np.float64).reshape(-1, 3)
    return Experiment(study, contrast, block.subjects or 0, block.space, coordinates, file=file)


def _require_header(block: _Block, file: str, where: str) -> None:
    if not block.space:
        problem, remedy = (
            "// Reference=",
            "begin the file with '// Reference=MNI' or '// Reference=Talairach'.",
        )
    elif not block.header:
        problem, remedy = "// Study: contrast", "name the experiment: '// Author, year: contrast'."
    elif block.subjects is None:
        problem, remedy = "// Subjects=", "add '// Subjects=n'; the width of the kernel depends on it."
    else:
        return
    raise TruthError(f"no line '{problem}' stands before the foci.", file=file, field=where, remedy=remedy)


def _coordinate(line: str, file: str, where: str) -> list[float]:
    try:
        values = [float(part) for part in re.split(r"[\s,]+", line)]
    except ValueError:
        values = []
    if len(values) != 3 or not np.isfinite(values).all() or max(map(abs, values)) > LARGEST_COORDINATE_MM:
        raise TruthError(
            f"'{line}' is not three coordinates in mm within {LARGEST_COORDINATE_MM:g} mm of the origin.",
            file=file,
            field=where,
            remedy="write x, y and z in mm, separated by spaces.",
        )
    return values


def write_sleuth(experiments: Iterable[Experiment]) -> str:
    """Return experiments, all in MNI space, as Sleuth text."""
    blocks = [f"// Reference={MNI}\n"]
    for experiment in experiments:
        contrast = f": {experiment.contrast}" if experiment.contrast else ""
        rows = "".join(f"{x:.2f}\t{y:.2f}\t{z:.2f}\n" for x, y, z in experiment.coordinates)
        blocks.append(f"// {experiment.study_id}{contrast}\n// Subjects={experiment.subjects}\n{rows}")
    return "\n".join(blocks)
