from __future__ import annotations

import pytest

from publication import synthetic_study as synthetic
from publication.synthetic_report import make_report


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A study with its tables, figures and report, made once: (study, tables, html)."""
    study = synthetic.Study(tmp_path_factory.mktemp("results") / "demo")
    synthetic.write(study)
    tables = synthetic.write_tables(study)
    figures = synthetic.write_figures(study, tables)
    html = make_report(study, tables, [path for paths in figures.values() for path in paths])
    return study, tables, html
