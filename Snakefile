# heatproof: which heatmaps of a medical-imaging network can you trust?
#
#   envs/run snakemake --cores all                                       every study of config/config.yaml
#   envs/run snakemake --cores all alzheimers                            one study
#   envs/run snakemake --cores all --replace-workflow-config --configfile config/my.yaml
#   envs/run snakemake --workflow-profile profiles/slurm                 the same on a cluster
#   envs/run snakemake --cores all rating_kit                            a page on which experts rate heatmaps blindly
#   envs/run snakemake --cores all ratings                               what they answered
#
# The way of the data, verbs name rules:
#   fetch -> prepare -> split -> train -> attribute -> score -> pool -> collect -> tabulate -> plot -> report
#                     \           \               \-> probe, randomise, agree -^
#                      \           \-> fit_simulator -> attribute, simulate -> collect
#                      \-> truth ------------------> score

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


wildcard_constraints:
    # What another config has made in the same folder is a file like any other.
    study="|".join(STUDIES),
    truth="[a-z][a-z0-9_]*",
    model="[a-z][a-z0-9_]*",
    method="[a-z][a-z0-9_]*",
    simulator="[a-z][a-z0-9_]*",
    permuted="|-permuted",
    fold="[0-9]+",
    seed="[0-9]+",


localrules:
    all,


rule all:
    """Every study of the config, and the report."""
    default_target: True
    input:
        f"{RESULTS}/report.html",
        [study_targets(study) for study in STUDIES],


for name in STUDIES:

    rule:
        name:
            name
        input:
            study_targets(name),
        localrule: True


include: "workflow/rules/downloads.smk"
include: "workflow/rules/cohorts.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/simulators.smk"
include: "workflow/rules/attribution.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/publication.smk"
include: "workflow/rules/rating.smk"
