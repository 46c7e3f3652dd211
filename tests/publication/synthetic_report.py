"""The report of a synthetic study."""

from __future__ import annotations

from pathlib import Path

from publication import synthetic_study as synthetic

CONFIG = {
    "title": "Do the heatmaps find the <b>effect</b> & nothing else?",
    "cohort": {"source": "table", "path": "/home/someone/secret study/participants.tsv"},
    "truths": {"injected": {"source": "injected"}, "meta_analysis": {"source": "literature"}},
    "methods": {name: {"method": name} for name in synthetic.QUALITY},
}


def make_report(study: synthetic.Study, tables: dict[str, Path], figures: list[Path], name: str = "demo") -> str:
    """Run the stage `report` on a finished synthetic study; return the HTML."""
    from heatproof.stages.report import StudyFiles, report

    folder = study.folder
    files = StudyFiles(
        config={**CONFIG, "models": synthetic.models_of(study)},
        tables=tables,
        figures=figures,
        leakage=folder / "leakage.tsv",
        participants=folder / "participants.tsv",
        cohort=folder / "cohort.h5",
    )
    report({name: files}, seed=2026, output=folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")
