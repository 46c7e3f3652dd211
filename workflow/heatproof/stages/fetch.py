"""Stage `fetch`: public data into the data root, checked, with a table of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.cohorts.folders import inside
from heatproof.cohorts.releases import published_sets, release_of
from heatproof.downloads import fetch_all
from heatproof.files import write_table
from heatproof.physionet import fetch_set

if TYPE_CHECKING:
    import pandas as pd


def fetch(spec: Mapping[str, Any], *, root: Path, offline: bool, fetched: Path) -> None:
    """Bring the folders of a cohort to the state of its release.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``source``, ``folder``, and the keys of its release or of its published sets.
    root : Path
        Data root.
    offline : bool
        Whether nothing may be fetched.
    fetched : Path
        Table to write: every file with its size, checksum and origin. Where several sets are fetched, a file_id
        begins with the set's folder.

    Raises
    ------
    ConfigError
        If it is not said where a set is published, or a folder leads out of the data root.
    DownloadError
        If a file cannot be fetched or is not the one that is expected.
    """
    if spec.get("source") == "wfdb":
        table = _sets(spec, root, offline)
    else:
        folder = inside(root, spec["folder"], field="cohort.folder")
        table = fetch_all(release_of(spec), folder, offline=offline)
    write_table(table, fetched)


def _sets(spec: Mapping[str, Any], root: Path, offline: bool) -> pd.DataFrame:
    """Return the files of all published sets."""
    import pandas as pd

    sets = published_sets(spec)
    # All folders are looked at before anything is fetched.
    places = {name: inside(root, name, field="cohort.folder") for name in sets}
    tables = []
    for name, published in sets.items():
        table = fetch_set(published, places[name], offline=offline)
        if len(sets) > 1:
            table["file_id"] = name + "/" + table["file_id"]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
