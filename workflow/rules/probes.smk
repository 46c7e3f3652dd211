# What the network is asked with the maps in hand: information curves, faithfulness, randomisation, retraining.
#
# in:  {study}/{model}/{run}/{method}/maps.h5 of all methods, the network, the cohort
# out: {study}/{model}/{run}/probes.parquet curves.parquet spreads.parquet exclusions.parquet examples.h5
#      {study}/{model}/{run}/randomised.parquet, {study}/{model}/pooled/agreement.parquet


rule probe:
    """Ask {wildcards.model} of {wildcards.study}, fold {wildcards.fold}, seed {wildcards.seed}, about its maps."""
    input:
        maps=maps_of_run,
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        folds=rules.split.output.folds,
        weights=f"{RESULTS}/{{study}}/{{model}}/{RUN}/model.safetensors",
        predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
    output:
        **{
            name: f"{RESULTS}/{{study}}/{{model}}/{RUN}/{name}.{kind}"
            for name, kind in PROBE_FILES.items()
        },
    log:
        f"{RESULTS}/logs/probe/{{study}}/{{model}}/{RUN}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probe/{{study}}/{{model}}/{RUN}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 240),
        gpu=LOCAL_GPU,
    params:
        job=lambda wildcards: probe_job(
            wildcards, "probe", wildcards.fold, wildcards.seed
        ),
        code=source_digest("heatproof.stages.probe"),
    script:
        "../scripts/probe.py"


rule randomise:
    """Explain scans again with a randomised {wildcards.model} of {wildcards.study}, fold {wildcards.fold}."""
    input:
        maps=randomised_maps,
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        folds=rules.split.output.folds,
        weights=f"{RESULTS}/{{study}}/{{model}}/{RUN}/model.safetensors",
        predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
        permuted=lambda wildcards: (
            twin_weights(wildcards)
            if "data_randomisation" in study_of(wildcards)["probes"]["metrics"]
            else []
        ),
    output:
        probes=f"{RESULTS}/{{study}}/{{model}}/{RUN}/randomised.parquet",
    log:
        f"{RESULTS}/logs/randomise/{{study}}/{{model}}/{RUN}.log",
    benchmark:
        f"{RESULTS}/benchmarks/randomise/{{study}}/{{model}}/{RUN}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 240),
        gpu=LOCAL_GPU,
    params:
        job=lambda wildcards: probe_job(
            wildcards, "randomise", wildcards.fold, wildcards.seed
        ),
        code=source_digest("heatproof.stages.randomise"),
    script:
        "../scripts/randomise.py"


rule agree:
    """Compare the maps of {wildcards.model} of {wildcards.study} between seeds and folds."""
    input:
        maps=lambda wildcards: (
            explained(wildcards.study, "maps.h5", [wildcards.model])
            if len(study_of(wildcards)["seeds"]) > 1
            else []
        ),
        means=lambda wildcards: explained(
            wildcards.study, "means.h5", [wildcards.model]
        ),
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
    output:
        probes=f"{RESULTS}/{{study}}/{{model}}/pooled/agreement.parquet",
    log:
        f"{RESULTS}/logs/agree/{{study}}/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/agree/{{study}}/{{model}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(2000, 60),
    params:
        job=lambda wildcards: probe_job(wildcards, "agree"),
        code=source_digest("heatproof.stages.agree"),
    script:
        "../scripts/agree.py"
