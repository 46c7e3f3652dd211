# Heatmaps of the test scans of one model, fold and seed: one job per method, or one for all (attribution.jobs).
#
# in:  {study}/cohort.h5, folds.tsv, {model}/{run}/model.safetensors predictions.tsv, and the simulators/*.safetensors
#      of the run that its methods show
# out: {study}/{model}/{run}/{method}/maps.h5 (temporary unless the config keeps maps)


for suffix, study, model, methods in batches():

    rule:
        """Explain {wildcards.model} of {wildcards.study}, fold {wildcards.fold}, seed {wildcards.seed}."""
        name:
            f"attribute{suffix}"
        input:
            cohort=rules.prepare.output.cohort,
            participants=rules.prepare.output.participants,
            folds=rules.split.output.folds,
            weights=f"{RESULTS}/{{study}}/{{model}}/{RUN}/model.safetensors",
            predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
            permuted=permuted_weights,
            simulators=shown_simulators,
        output:
            maps=[
                maps_file(path)
                for path in of_batch(methods, f"{RUN}/{{method}}/maps.h5")
            ],
        log:
            f"{RESULTS}/logs/attribute/{{study}}/{{model}}/{RUN}/{batch_name(methods)}.log",
        benchmark:
            f"{RESULTS}/benchmarks/attribute/{{study}}/{{model}}/{RUN}/{batch_name(methods)}.tsv"
        wildcard_constraints:
            study=study,
            model=model,
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            **grown(4000, 240),
            gpu=LOCAL_GPU,
        params:
            jobs=lambda wildcards: [
                attribution_job(wildcards, method)
                for method in methods_here(wildcards)
            ],
            code=source_digest("heatproof.stages.attribute"),
        script:
            "../scripts/attribute.py"
