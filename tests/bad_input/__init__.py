"""Every bad input that the gates are tried with, and what they answer.

`python -m bad_input` writes the answers to docs/bad-input.md; `test_bad_input` holds every single one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """One bad input.

    Attributes
    ----------
    wrong : str
        What is wrong with it, for the table.
    attempt : callable
        Makes the input in an empty folder and hands it to the gate that a user's input meets.
    """

    wrong: str
    attempt: Callable[[Path], object]
