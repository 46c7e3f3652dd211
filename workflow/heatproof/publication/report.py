"""The report: one HTML file that needs no network, with the answer first and every number behind it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from heatproof.figures.catalogue import FIGURES
from heatproof.figures.style import ABSENT, FRAME, label
from heatproof.publication import condensed, glossary
from heatproof.publication.captions import with_prior
from heatproof.publication.privacy import shareable
from heatproof.publication.published import beside_ours
from heatproof.publication.summary import Summary, direction, name_of, summarise

TEMPLATES = Path(__file__).parent / "templates"
# A figure with photographs inside is smaller as pixels; charts stay sharp as drawings.
LARGEST_SVG = 350_000
LONGEST_CELL = 120
# What each scan's own truth is.
INDIVIDUAL_WORDS = {
    "injected": "the effect injected into each scan",
    "lesions": "the lesion in each scan",
    "contraction": "the log-Jacobian of the exact warp that takes the effect out of each scan",
    "counterfactual": "what changes in each scan when the number that the network predicts is changed",
    "waves": "the waves of each record between whose marks the number is measured",
}


@dataclass(frozen=True)
class StudyReport:
    """What the report needs to know about one study.

    Attributes
    ----------
    name, title : str
        Of the study.
    tables : mapping of str to DataFrame
        Every table of the study, by name.
    leakage : DataFrame
        ``leakage.tsv``.
    figures : mapping of str to mapping of str to bytes
        ``svg`` and ``png`` of each figure, by name.
    facts : mapping of str to str
        About the data, in the order of the report: scans, people, grid ...
    config : mapping
        The entry of the study in the configuration.
    classes : tuple of str
        Diagnoses, control first.
    """

    name: str
    title: str
    tables: Mapping[str, pd.DataFrame]
    leakage: pd.DataFrame
    figures: Mapping[str, Mapping[str, bytes]]
    facts: Mapping[str, str]
    config: Mapping[str, Any]
    classes: tuple[str, ...] = ("HC", "AD")


@dataclass(frozen=True)
class Provenance:
    """What made the report: versions by package, root seed. Never a host, a user or a path."""

    seed: int
    versions: Mapping[str, str] = field(default_factory=dict)


def render_report(studies: Sequence[StudyReport], provenance: Provenance) -> str:
    """Return the report as HTML.

    Every text from data is escaped by the template engine; styles and script are inside the file; nothing in it
    depends on when or where it was made.

    Parameters
    ----------
    studies : sequence of StudyReport
        In the order of the configuration.
    provenance : Provenance
        Versions and seed.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.j2"], default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(label=label, cell=cell, signed=signed, p_value=p_value)
    contexts = [_context(study) for study in studies]
    return environment.get_template("report.html.j2").render(
        studies=contexts,
        provenance=provenance,
        glossary=glossary.GLOSSARY,
        words={context["prior"]: sentence(context["prior_meaning"]) for context in contexts} | glossary.WORDS,
        style=_trusted("report.css"),
        script=_trusted("report.js"),
    )


def _trusted(name: str) -> Any:
    """Return one of our own files as text that is not escaped."""
    from markupsafe import Markup

    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704


def _context(study: StudyReport) -> dict[str, Any]:
    methods = study.config.get("methods", {})
    summary = summarise(
        study.tables,
        study.leakage,
        models=study.config.get("models", {}),
        methods=methods,
        n_classes=len(study.classes),
    )
    # Published numbers are about Alzheimer's disease; beside another question they would mislead.
    published = beside_ours(study.tables, methods, study.config.get("truths", {})) if "AD" in study.classes else []
    prior = name_of(summary.prior)
    return {
        "name": study.name,
        "title": study.title,
        "prior": prior,
        "prior_meaning": glossary.PRIORS[summary.prior],
        "facts": study.facts,
        "summary": summary,
        "truth": _truth_words(summary),
        "direction": direction(summary.view) if summary.view else "",
        "reach": _reach(summary),
        "figures": [_figure(name, study.figures[name], prior) for name in FIGURES if _shows(study.figures.get(name))],
        "tables": condensed.tables(study.tables, study.leakage, summary.view, prior),
        "published": published,
        "config": json.dumps(shareable(dict(study.config)), indent=2, ensure_ascii=False, default=str),
    }


def _shows(files: Mapping[str, bytes] | None) -> bool:
    """Return whether a figure was drawn, and is more than the line that says why there is nothing to draw."""
    return bool(files) and f'id="{ABSENT}"'.encode() not in (files or {}).get("svg", b"")


def _truth_words(summary: Summary) -> str:
    if summary.view is None:
        return "no truth"
    if summary.view.individual:
        return f"the individual truth ({INDIVIDUAL_WORDS[summary.view.truth]})"
    return f"the {label(summary.view.truth).lower()} truth ({summary.view.level} level; no truth of each scan is known)"


def _reach(summary: Summary) -> float:
    """Return the largest bound of a difference, the scale of the small interval pictures."""
    bounds = [abs(b) for group in summary.findings.values() for f in group for b in (f.low, f.high) if b == b]
    return max(bounds, default=1.0) or 1.0


def _figure(name: str, files: Mapping[str, bytes], prior: str) -> dict[str, Any]:
    drawn = files.get("svg", b"")
    frames = _frames(drawn)
    # A slider moves one picture about, so that has to be pixels.
    large = not drawn or frames or len(drawn) > max(LARGEST_SVG, len(files.get("png", b"")))
    kind = "png" if "png" in files and large else "svg"
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    entry = FIGURES[name]
    return {
        "name": name,
        "title": entry.title,
        "caption": with_prior(entry.caption, prior),
        "alt": f"Figure: {entry.title}. Its numbers are in the tables of this study.",
        "source": f"data:{mime};base64,{base64.b64encode(files[kind]).decode()}",
        "frames": frames if kind == "png" else [],
    }


def _frames(drawing: bytes) -> list[str]:
    """Return the doses of the frames that stand side by side in a drawing, by their ids; none in other drawings."""
    return [found.decode() for found in re.findall(rb'id="%s([^"]+)"' % FRAME.encode(), drawing)]


def sentence(text: str) -> str:
    """Return a phrase as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def cell(value: Any) -> str:
    """Return a table's value as text: four significant digits, ``n/a`` for missing, a long text cut."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    text = str(value)
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def p_value(value: float) -> str:
    """Return ``p = 0.012``, never ``p = 0``: a permutation test cannot show that."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign, or ``n/a``."""
    return "n/a" if value != value else f"{value:+.3f}".replace("-", "−")
