"""Stage `fetch`: public data into the data root, checked, with a table of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatproof.cohorts.folders import inside
from heatproof.cohorts.releases import release_of
from heatproof.downloads import fetch_all
from heatproof.files import write_table


def fetch(spec: Mapping[str, Any], *, root: Path, offline: bool, fetched: Path) -> None:
    """Bring the folder of a cohort to the state of its release.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``source``, ``folder``, and the keys of its release.
    root : Path
        Data root.
    offline : bool
        Whether nothing may be fetched.
    fetched : Path
        Table to write: every file with its size, checksum and origin.

    Raises
    ------
    DownloadError
        If a file cannot be fetched or is not the one that is expected.
    """
    folder = inside(root, spec["folder"], field="cohort.folder")
    write_table(fetch_all(release_of(spec), folder, offline=offline), fetched)
