"""Headline statements of the papers, each turned into a test on our tables, under both recipes.

A verdict says what these data and networks show, not whether a paper was right about its own. A claim whose methods or
metrics a study does not have is not testable there. Every network is judged by itself: scores of different networks are
never held against one another; claims about several targets (`target_claims`) compare the orders of the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from heatproof.publication import image_claims, simulator_claims, target_claims
from heatproof.publication.evidence import Evidence
from heatproof.publication.image_claims import INSENSITIVE
from heatproof.publication.target_claims import NOT_TESTABLE, RELIABLE, SAME_ORDER, agreed

COLUMNS = ("claim", "source", "statement", "test", "published", "recipe", "verdict", "effect")
STORAS = "Storås et al., JAMIA 2025;32:79"
BRIMA = "Brima & Atemkeng, BioData Mining 2024;17:18"
LIU = "Liu et al., IPMI 2021, arXiv 2102.08239"
Judgement = tuple[str, str]


@dataclass(frozen=True)
class Claim:
    """One headline statement.

    Attributes
    ----------
    key, source, statement : str
        Its number, the paper, and what was said, in our words.
    test : str
        What would support it here.
    published : str
        The published figure.
    judge : callable
        Evidence to (verdict, effect in words); of all targets at once, by model, where `over_targets`.
    over_targets, over_simulators : bool
        Whether the statement is about several targets, or about the simulators of each network.
    """

    key: str
    source: str
    statement: str
    test: str
    published: str
    judge: Callable[..., Judgement]
    over_targets: bool = False
    over_simulators: bool = False


def claims_table(
    tables: Mapping[str, pd.DataFrame],
    methods: Mapping[str, Mapping[str, Any]],
    recipes: tuple[str, ...],
    *,
    settings: Sequence[str],
    simulators: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """Return ``claims.tsv``: one row per recipe and claim that the study can say something about.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        The tables of the study.
    methods : mapping of str to mapping
        The methods of the configuration.
    recipes : tuple of str
        Recipes that the study's models follow.
    settings : sequence of str
        Settings of the information curves, in the order of the configuration; others are no evidence for S1.
    simulators : mapping of str to mapping
        The simulators of the configuration, in order.
    """
    names = {key: str(entry.get("method", key)) for key, entry in methods.items()}
    rows = []
    for claim in CLAIMS:
        about = (claim.key, claim.source, claim.statement, claim.test, claim.published)
        judged = []
        for recipe in ("as_published", "corrected"):
            verdict, effect = NOT_TESTABLE, "no network of this study follows the recipe"
            if claim.over_targets:
                verdict, effect = claim.judge(_targets(tables, names, recipe, settings))
            elif claim.over_simulators:
                about_simulators = Evidence(tables, names, recipe, "", settings, entries=methods, simulators=simulators)
                networks = simulator_claims.simulated_models(tables, recipe)
                verdict, effect = over_models(
                    {model: claim.judge(replace(about_simulators, model=model, network_recipe=followed))
                     for model, followed in networks.items()}
                )  # fmt: skip
            elif models := _models(tables, recipe) if recipe in recipes else []:
                verdict, effect = over_models(
                    {model: claim.judge(Evidence(tables, names, recipe, model, settings)) for model in models}
                )
            judged.append((*about, recipe, verdict, effect))
        # A study that can say nothing about a claim under either recipe does not list it.
        rows += judged if {row[-2] for row in judged} != {NOT_TESTABLE} else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def over_models(judgements: Mapping[str, Judgement]) -> Judgement:
    """Return one judgement of several networks: theirs where all that can be tested agree, else undecided.

    Parameters
    ----------
    judgements : mapping of str to (str, str)
        Verdict and effect of each network, which the effect names where there are several.
    """
    testable = {model: judged for model, judged in judgements.items() if judged[0] != NOT_TESTABLE}
    if not testable:
        return NOT_TESTABLE, "; ".join(dict.fromkeys(effect for _, effect in judgements.values()))
    words = [f"{model}: {effect}" if len(judgements) > 1 else effect for model, (_, effect) in testable.items()]
    return agreed(verdict for verdict, _ in testable.values()), "; ".join(words)


def _models(tables: Mapping[str, pd.DataFrame], recipe: str) -> list[str]:
    found = (tables[name] for name in ("ranking", "faithfulness", "metric_agreement"))
    return sorted({model for rows in found for model in rows.loc[rows["recipe"] == recipe, "model"]})


def _targets(
    tables: Mapping[str, pd.DataFrame], names: Mapping[str, str], recipe: str, settings: Sequence[str]
) -> dict[str, Evidence]:
    """Return the evidence of every target: of networks of the recipe, or of the others where none follows it.

    What a recipe changes in a claim about targets is the measure, so that networks of one recipe serve both.
    """
    found = {}
    for model in target_claims.targets_of(tables["ranking"], tables["certificates"]):
        own = set(tables["ranking"].loc[tables["ranking"]["model"] == model, "recipe"])
        found[model] = Evidence(tables, names, recipe, model, settings, network_recipe=sorted(own)[0])
    same = {model: one for model, one in found.items() if one.network_recipe == recipe}
    return same or found


CLAIMS = (
    Claim(
        "E1", STORAS, "No method is consistently best.",
        f"different methods come first on different targets, each in {target_claims.SURE:.1%} of the bootstrap "
        "samples; as published by the perturbation metric, corrected by the truth of each scan",
        "-", target_claims.no_method_is_best, True,
    ),
    Claim(
        "E2", STORAS, "Some methods are clearly inferior.",
        "mean ranks further apart than Nemenyi's critical difference, or a method clearly below the middle on every "
        "target",
        "names not readable", target_claims.some_are_inferior, True,
    ),
    Claim(
        "E3", STORAS, "Experts and the perturbation metric disagree.",
        f"Kendall's tau between the perturbation metric and the truth over the methods clearly below "
        f"{SAME_ORDER:g} on every target, by measures that order the methods reliably (as S4); the truth "
        "stands for the experts, whose answers the rating kit collects",
        "-", target_claims.measure_disagrees, True,
    ),
    Claim(
        "E4", STORAS, "The best method depends on the measure.",
        "on most targets every method that may lead by perturbation is clearly beaten by the truth",
        "-", target_claims.best_depends_on_measure, True,
    ),
    Claim(
        "L1", LIU, "A simulator changes a scan so that the network changes its mind.",
        "clearly more than half of the simulated scans change sides (of a number: move the right way), for a network "
        "trained from another seed too, for which clearly more do than under the same warp mirrored, and which follows "
        "clearly further than it follows an attack; as published by the first simulator with a displacement field, "
        "corrected by the first with a velocity, whatever recipe the network follows",
        "not readable", simulator_claims.changes_minds, over_simulators=True,
    ),
    Claim(
        "L2", LIU, "Simulated changes show the effect better than saliency maps.",
        "correlation with the exact truth of each scan clearly above that of every saliency method, each map with the "
        "smoothing that suits it best: the size of the log-Jacobian with the contraction, of the change with the "
        "injected effect; controls such as edges are not among them",
        "qualitative", simulator_claims.beats_saliency, over_simulators=True,
    ),
    Claim(
        "L3", LIU, "One conditional network takes the place of two.",
        "at the full dose correlation of change and log-Jacobian with the exact ones, and the share of scans on which "
        "another network changes sides, lower than those of two separate networks, with all else the same, by clearly "
        f"less than {simulator_claims.AS_GOOD:g}",
        "-", simulator_claims.one_network_suffices, over_simulators=True,
    ),
    Claim(
        "S1", BRIMA, "ScoreCAM and XRAI retain the relevant regions best (AIC).",
        "both lead by AIC, above their own nulls and in the better half against the masks, by an AIC that a constant "
        "network cannot fool; the published AIC (pair, unchecked) cannot pass that test, so that by it the claim is at "
        "best undecided under as_published",
        "brain AIC .104 and .073, all others about 0", image_claims.retains_best,
    ),
    Claim(
        "S2", BRIMA, "By SIC random masks can beat established methods.",
        "random noise clearly above at least one trained method in every setting",
        "brain SIC .654 (random) against .449 to .513", image_claims.random_beats,
    ),
    Claim(
        "S3", BRIMA, "Class-activation maps and XRAI are focused on the lesion.",
        "mass and rank accuracy and pointing game clearly above chance for all of them; a pointing game that misses is "
        "no evidence against",
        "qualitative", image_claims.focused,
    ),
    Claim(
        "S4", BRIMA, "Curve-based and visual rankings must be combined.",
        f"Kendall's tau between information curves and rank accuracy over the methods, without controls, clearly below "
        f"{SAME_ORDER:g}; decided only where both order the methods reliably (reliability of the mean over people, "
        f"Spearman-Brown from alpha_methods, above {RELIABLE:g})",
        "-", image_claims.orders_differ,
    ),
    Claim(
        "X1", "Adebayo et al., NeurIPS 2018", "Some methods ignore the network's weights.",
        f"rank correlation of a method's maps before and after cascading randomisation clearly above {INSENSITIVE:g}; "
        "methods that multiply by the scan are left aside: their maps keep its pattern whatever the weights are",
        "-", image_claims.ignores_weights,
    ),
)  # fmt: skip
