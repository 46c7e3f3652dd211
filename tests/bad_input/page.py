"""The page docs/bad-input.md, written from what the gates answer."""

from __future__ import annotations

import re

from bad_input import downloads, paths, pictures, settings, signals, tables, volumes
from bad_input.answers import Answer, answer

GROUPS = {
    "MRI files": volumes.TRIALS,
    "Tables, labels and folds": tables.TRIALS,
    "ECG and other signals": signals.TRIALS,
    "Images and DICOM": pictures.TRIALS,
    "Configuration": settings.TRIALS,
    "Paths": paths.TRIALS,
    "Downloads, archives and weights": downloads.TRIALS,
}
INTRODUCTION = """# What happens with bad input

Made by `envs/run env PYTHONPATH=workflow:tests python -m bad_input > docs/bad-input.md`, which makes every bad input
below, hands it to the gate that a user's input meets, and writes down the answer. A test does the same and compares.

- A wrong configuration stops the run before anything is computed.
- A scan, image or recording that cannot be used stops the run before training, all bad ones being listed at once with
  scan, file, field, reason and remedy. With `on_bad_scan: exclude` they are left out instead, and counted in
  `intake.tsv` and in the report. The table shows the line of the first one.
- What is only doubtful (an image stored left-handed, bright as black, scaled, on a squeezed axis) is read and noted in
  `intake.tsv`.

Long messages are cut at "...".
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION]
    for title, trials in GROUPS.items():
        rows = [_row(trial.wrong, answer(trial)) for trial in trials]
        parts.append(f"## {title}\n\n| what is wrong | file | field | message | remedy |\n|---|---|---|---|---|")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(wrong: str, said: Answer) -> str:
    cells = (wrong, said.file, said.field, said.message, said.remedy)
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\|*<>\[\]`~])", r"\\\1", text)
