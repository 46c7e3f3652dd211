"""Every source of truths. The names stand apart from the package, so that only the stage that builds needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from heatproof.errors import ConfigError
from heatproof.truths.store import Context, Truth

# Source -> module with a function `build(spec, context)`. The module is imported when it is used: NiMARE
# takes seconds to import, and only the job that runs a meta-analysis needs it.
TRUTHS: dict[str, str] = {
    "injected": "heatproof.truths.exact",
    "contraction": "heatproof.truths.contraction",
    "lesions": "heatproof.truths.lesions",
    "counterfactual": "heatproof.truths.outputs",
    "waves": "heatproof.truths.outputs",
    "meta_analysis": "heatproof.truths.meta_analysis",
    "literature": "heatproof.truths.literature",
    "atlas": "heatproof.truths.atlases",
    "mask": "heatproof.truths.masks",
}


def build_truth(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build one truth of the configuration on the cohort's grid.

    Parameters
    ----------
    spec : mapping
        The truth's entry; ``source`` names the builder.
    context : Context
        What the source may know about the cohort.

    Raises
    ------
    ConfigError
        If the source is not known.
    """
    source = str(spec.get("source"))
    if source not in TRUTHS:
        raise ConfigError(
            f"the source '{source}' is not known.",
            field=f"truths.{context.name}.source",
            remedy=f"use one of {', '.join(TRUTHS)}.",
        )
    build: Callable[[Mapping[str, Any], Context], Truth] = import_module(TRUTHS[source]).build
    return build(spec, context)
