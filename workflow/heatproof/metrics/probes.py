"""What is asked of a map beyond its overlap with a truth: which way is better, what it takes, where it comes from.

The functions themselves stand in `faithfulness`, `information` and `randomisation`; here is what a table or a figure
has to know about their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

# What a probe can ask for beside the map and its scan.
NEEDS = ("network", "method", "tuned network", "other weights", "network of permuted labels", "other seeds")

KAPISHNIKOV = "Kapishnikov, Bolukbasi, Viegas and Terry, ICCV 2019, arXiv 1906.02825"
PETSIUK = "Petsiuk, Das and Saenko, BMVC 2018, arXiv 1806.07421"
RONG = "Rong, Leemann, Borisov, Kasneci and Kasneci, ICML 2022, arXiv 2202.00449"
YEH = "Yeh, Hsieh, Suggala, Inouye and Ravikumar, NeurIPS 2019, arXiv 1901.09392"
ZHENG = "Zheng et al., ICLR 2025, arXiv 2410.02970"
ADEBAYO = "Adebayo et al., NeurIPS 2018, arXiv 1810.03292"
HEDSTROEM = "Hedstroem, Weber, Lapuschkin and Hoehne 2024, arXiv 2401.06465"
STORAS = "Storås et al., JAMIA 2025;32:79"
TURBE = "Turbé, Bjelogrlic, Lovis and Mengaldo, Nature Machine Intelligence 2023;5:250"
ARUN = "Arun et al., Radiology: Artificial Intelligence 2021;3:e200267 (reproducibility)"
RANDOM_MAPS = "no number; see the random maps of the same scan"


@dataclass(frozen=True)
class Probe:
    """One question to a map that needs no truth.

    Attributes
    ----------
    name : str
        As in the tables.
    larger_is_better : bool
    needs : tuple of str
        Any of `NEEDS`.
    unit : str
        ``none`` for shares, probabilities and coefficients.
    citation : str
    chance : str
        What a map that knows nothing scores.
    """

    name: str
    larger_is_better: bool
    needs: tuple[str, ...]
    unit: str
    citation: str
    chance: str


PROBES: dict[str, Probe] = {
    probe.name: probe
    for probe in (
        Probe("aic", True, ("network",), "none", KAPISHNIKOV, RANDOM_MAPS),
        Probe("sic", True, ("network",), "none", KAPISHNIKOV, RANDOM_MAPS),
        Probe("insertion", True, ("network",), "none", PETSIUK, RANDOM_MAPS),
        Probe("deletion", False, ("network",), "none", PETSIUK, RANDOM_MAPS),
        Probe("road_morf", False, ("network",), "none", RONG, RANDOM_MAPS),
        Probe("road_lerf", True, ("network",), "none", RONG, RANDOM_MAPS),
        Probe("road", True, ("network",), "none", RONG, "0: both orders remove alike"),
        Probe("infidelity", False, ("network",), "logits squared", YEH,
              "the mean squared change of the logit, when nothing of it is foretold"),
        Probe("max_sensitivity", False, ("method",), "none", YEH, "0 for a map that ignores the scan"),
        Probe("f_fidelity_plus", True, ("tuned network",), "none", ZHENG, RANDOM_MAPS),
        Probe("f_fidelity_minus", False, ("tuned network",), "none", ZHENG, RANDOM_MAPS),
        Probe("f_fidelity", True, ("tuned network",), "none", ZHENG, "0 in the mean over symmetric shares"),
        Probe("perturbation", True, ("network",), "published: none; else standard deviations of the target", STORAS,
              RANDOM_MAPS),
        Probe("turbe_top", True, ("network",), "none", TURBE, RANDOM_MAPS),
        Probe("turbe_bottom", False, ("network",), "none", TURBE, RANDOM_MAPS),
        Probe("turbe_f", True, ("network",), "none", TURBE, RANDOM_MAPS),
        Probe("cascading_mprt", False, ("method", "other weights"), "none", ADEBAYO,
              "1 for a map that ignores the weights, 0 for one that keeps nothing"),
        Probe("smooth_mprt", False, ("method", "other weights"), "none", HEDSTROEM,
              "1 for a map that ignores the weights, 0 for one that keeps nothing"),
        Probe("efficient_mprt", True, ("method", "other weights"), "none", HEDSTROEM,
              "0 for a map whose complexity ignores the weights"),
        Probe("data_randomisation", False, ("method", "network of permuted labels"), "none", ADEBAYO,
              "1 for a map that ignores the labels, 0 for one that keeps nothing"),
        Probe("retraining_agreement", True, ("method", "other seeds"), "none", ARUN, "0"),
    )
}  # fmt: skip
