"""What a claim is judged on: the tables of a study, cut to one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from heatproof.studies import INDIVIDUAL_TRUTHS


@dataclass(frozen=True)
class Evidence:
    """What a claim is judged on: the tables of one study, cut to one network.

    Attributes
    ----------
    tables : mapping of str to DataFrame
        ``faithfulness``, ``ranking``, ``comparisons``, ``metric_agreement``, ``metric_reliability``, ``median_curves``,
        ``sanity`` and ``simulations``.
    methods : mapping of str to str
        Id of each configured method to its registered name.
    recipe : str
        ``as_published`` or ``corrected``.
    model : str
        The network.
    settings : sequence of str
        Settings of the information curves, in the order of the configuration.
    network_recipe : str
        Recipe of the network, where it is not the one the claim is judged under.
    entries : mapping of str to mapping
        The methods of the configuration.
    simulators : mapping of str to mapping
        The simulators of the configuration, in order.
    """

    tables: Mapping[str, pd.DataFrame]
    methods: Mapping[str, str]
    recipe: str
    model: str
    settings: Sequence[str]
    network_recipe: str = ""
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    simulators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """Return the rows of a table that are about the network."""
        rows = self.tables[name]
        return rows[(rows["recipe"] == (self.network_recipe or self.recipe)) & (rows["model"] == self.model)]

    def faithfulness(self, metric: str) -> pd.DataFrame:
        """Return the rows of a probe metric with the column ``name``, the method's registered name."""
        rows = self.table("faithfulness")
        return self._named(rows[rows["metric"] == metric])

    def localisation(self) -> pd.DataFrame:
        """Return the rows of single, unsmoothed scans against their own truth."""
        rows = self.table("ranking")
        chosen = (rows["level"] == "scan") & (rows["smoothing_mm"] == 0)
        return self._named(rows[chosen & rows["truth"].isin(INDIVIDUAL_TRUTHS)])

    def reliability(self, metric: str, setting: str) -> float:
        """Return how reliably a metric's mean over people orders the methods (Spearman-Brown); NaN if unknown."""
        rows = self.table("metric_reliability")
        rows = rows[(rows["metric"] == metric) & (rows["setting"].fillna("") == setting)]
        if rows.empty:
            return float("nan")
        alpha, n_people = float(rows["alpha_methods"].iloc[0]), float(rows["n_people"].iloc[0])
        # Scans that disagree about the methods stay so, however many they are.
        return n_people * alpha / (1 + (n_people - 1) * alpha) if not alpha <= 0 else 0.0

    def own_setting(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the first configured setting that suits the recipe: the published algorithm, or ours."""
        present = [setting for setting in self.settings if setting in set(rows["setting"])]
        suited = [setting for setting in present if setting.startswith("nd")]
        if self.recipe == "as_published":
            suited = [setting for setting in present if setting.startswith("pair")] or suited
        return rows[rows["setting"].isin(suited[:1])]

    def _named(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(name=rows["method"].map(self.methods).fillna(rows["method"]))
