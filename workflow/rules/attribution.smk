# Heatmaps: one method on the test scans of one model, fold and seed.
#
# in:  {study}/cohort.h5, folds.tsv, {model}/{run}/model.safetensors predictions.tsv
# out: {study}/{model}/{run}/{method}/maps.h5 (temporary unless the config keeps maps)


rule attribute:
    """Explain {wildcards.model} of {wildcards.study} by {wildcards.method}, fold {wildcards.fold}, seed {wildcards.seed}."""
    input:
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        folds=rules.split.output.folds,
        weights=f"{RESULTS}/{{study}}/{{model}}/{RUN}/model.safetensors",
        predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
        permuted=permuted_weights,
    output:
        maps=maps_file(f"{RESULTS}/{{study}}/{{model}}/{RUN}/{{method}}/maps.h5"),
    log:
        f"{RESULTS}/logs/attribute/{{study}}/{{model}}/{RUN}/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/attribute/{{study}}/{{model}}/{RUN}/{{method}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 240),
        gpu=LOCAL_GPU,
    params:
        job=lambda wildcards: {
            "model": wildcards.model,
            "recipe": model_of(wildcards)["recipe"],
            "method": wildcards.method,
            "entry": method_of(wildcards),
            "fold": int(wildcards.fold),
            "seed": int(wildcards.seed),
            "study_seed": SEED,
            **attribution_of(wildcards),
        },
        code=source_digest("heatproof.stages.attribute"),
    script:
        "../scripts/attribute.py"
