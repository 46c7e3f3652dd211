"""What the user sees of a refusal, in the words of the gate and without the folders of this machine."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bad_input import Trial
from heatproof.errors import HeatproofError

# Messages that list what is allowed, or that end in a library's own words, are cut here.
LONGEST = 200


class AcceptedError(AssertionError):
    """A gate has let a bad input through."""


@dataclass(frozen=True)
class Answer:
    """What a gate says: where, what is wrong, and what to do."""

    file: str
    field: str
    message: str
    remedy: str


@cache
def answer(trial: Trial) -> Answer:
    """Return what the gate says about a bad input.

    Raises
    ------
    AcceptedError
        If it says nothing. Any error but a `HeatproofError` is passed on: the user would see a traceback.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            trial.attempt(folder)
        except HeatproofError as error:
            return Answer(*(_neutral(part, folder) for part in _parts(error)))
    raise AcceptedError(f"accepted: {trial.wrong}")


def _parts(error: HeatproofError) -> tuple[str, str, str, str]:
    """Return file, field, message and remedy; those of the first scan, where the error lists scans."""
    for line in error.problem.splitlines():
        if line.startswith("  ") and len(cells := line.strip().split("\t")) == 5:
            return cells[1], cells[2], cells[3], cells[4]
    return error.file or "", error.field or "", error.problem, error.remedy or ""


def _neutral(text: str, folder: Path) -> str:
    text = text.replace(f"{folder}/", "").replace(str(folder), "the folder")
    # Libraries colour their words for a terminal, and the server of the trials gets another port each time.
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "server.example", " ".join(text.split()))
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " ..."
