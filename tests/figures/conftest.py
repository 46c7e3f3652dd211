from __future__ import annotations

import pytest

from heatproof.stages.runs import read_text_table
from publication import synthetic_study as synthetic


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """The tables of a synthetic study, with the study and their files: (study, paths, tables by name)."""
    study = synthetic.Study(tmp_path_factory.mktemp("figures") / "demo")
    synthetic.write(study)
    paths = synthetic.write_tables(study)
    return study, paths, {name: read_text_table(path) for name, path in paths.items()}
