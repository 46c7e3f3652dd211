# Numbers from maps: per scan, per fold and for the group.
#
# in:  {study}/{model}/{run}/{method}/maps.h5, truths, cohort, predictions
# out: {study}/{model}/{run}/{method}/scores.parquet areas.parquet means.h5
#      {study}/{model}/pooled/{method}/group.h5 scores.parquet nulls.parquet nifti/
#      {study}/scores.parquet areas.parquet nulls.parquet simulations.parquet


for suffix, study, model, methods in batches():

    rule:
        """Measure the maps of {wildcards.model} of {wildcards.study}, fold {wildcards.fold}, seed {wildcards.seed}."""
        name:
            f"score{suffix}"
        input:
            maps=of_batch(methods, f"{RUN}/{{method}}/maps.h5"),
            cohort=rules.prepare.output.cohort,
            participants=rules.prepare.output.participants,
            predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
            truths=lambda wildcards: truths(wildcards.study),
        output:
            scores=of_batch(methods, f"{RUN}/{{method}}/scores.parquet"),
            areas=of_batch(methods, f"{RUN}/{{method}}/areas.parquet"),
            means=of_batch(methods, f"{RUN}/{{method}}/means.h5"),
        log:
            f"{RESULTS}/logs/score/{{study}}/{{model}}/{RUN}/{batch_name(methods)}.log",
        benchmark:
            f"{RESULTS}/benchmarks/score/{{study}}/{{model}}/{RUN}/{batch_name(methods)}.tsv"
        wildcard_constraints:
            study=study,
            model=model,
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            **grown(2000, 60),
        params:
            spec=lambda wildcards: metrics_of(wildcards, without=(*RESAMPLING, "nulls")),
            study="{study}",
            recipe=lambda wildcards: model_of(wildcards)["recipe"],
            code=source_digest("heatproof.stages.score"),
        script:
            "../scripts/score.py"

    rule:
        """Bring the folds and seeds of {wildcards.model} of {wildcards.study} together into group maps."""
        name:
            f"pool{suffix}"
        input:
            means=lambda wildcards: [
                path
                for method in methods_here(wildcards)
                for path in runs(
                    wildcards.study, f"{method}/means.h5", [wildcards.model]
                )
            ],
            cohort=rules.prepare.output.cohort,
            participants=rules.prepare.output.participants,
            truths=lambda wildcards: truths(wildcards.study),
        output:
            group=of_batch(methods, "pooled/{method}/group.h5"),
            scores=of_batch(methods, "pooled/{method}/scores.parquet"),
            nulls=of_batch(methods, "pooled/{method}/nulls.parquet"),
            nifti=[
                directory(path) for path in of_batch(methods, "pooled/{method}/nifti")
            ],
        log:
            f"{RESULTS}/logs/pool/{{study}}/{{model}}/{batch_name(methods)}.log",
        benchmark:
            f"{RESULTS}/benchmarks/pool/{{study}}/{{model}}/{batch_name(methods)}.tsv"
        wildcard_constraints:
            study=study,
            model=model,
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            **grown(2000, 60),
        params:
            spec=lambda wildcards: metrics_of(wildcards, without=RESAMPLING),
            study="{study}",
            recipe=lambda wildcards: model_of(wildcards)["recipe"],
            seed=SEED,
            code=source_digest("heatproof.stages.pool"),
        script:
            "../scripts/pool.py"


rule collect:
    """Gather every number of {wildcards.study} into its long tables."""
    input:
        scores=lambda wildcards: explained(wildcards.study, "scores.parquet")
        + pooled(wildcards.study, "scores.parquet"),
        areas=lambda wildcards: explained(wildcards.study, "areas.parquet"),
        nulls=lambda wildcards: pooled(wildcards.study, "nulls.parquet"),
        probes=lambda wildcards: probed(wildcards.study, "probes.parquet", "probe")
        + probed(wildcards.study, "randomised.parquet", "randomise")
        + agreements(wildcards.study),
        curves=lambda wildcards: probed(wildcards.study, "curves.parquet", "probe"),
        spreads=lambda wildcards: probed(wildcards.study, "spreads.parquet", "probe"),
        exclusions=lambda wildcards: probed(
            wildcards.study, "exclusions.parquet", "probe"
        ),
        simulations=lambda wildcards: simulated(wildcards.study, "simulations.parquet"),
    output:
        scores=f"{RESULTS}/{{study}}/scores.parquet",
        areas=f"{RESULTS}/{{study}}/areas.parquet",
        nulls=f"{RESULTS}/{{study}}/nulls.parquet",
        probes=f"{RESULTS}/{{study}}/probes.parquet",
        curves=f"{RESULTS}/{{study}}/curves.parquet",
        spreads=f"{RESULTS}/{{study}}/spreads.parquet",
        exclusions=f"{RESULTS}/{{study}}/exclusions.parquet",
        simulations=f"{RESULTS}/{{study}}/simulations.parquet",
    log:
        f"{RESULTS}/logs/collect/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 30),
    params:
        code=source_digest("heatproof.stages.collect"),
    script:
        "../scripts/collect.py"
