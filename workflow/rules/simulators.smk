# What changes a scan until a network changes its mind: fitted to every network.
#
# in:  {study}/cohort.h5, folds.tsv, {model}/{run}/model.safetensors predictions.tsv; one entry of the study's `simulators`
# out: {study}/{model}/{run}/simulators/{simulator}.safetensors {simulator}_history.tsv
#      {study}/{model}/{run}/simulations.parquet simulations.h5


rule fit_simulator:
    """Fit {wildcards.simulator} to {wildcards.model} of {wildcards.study}, fold {wildcards.fold}, seed {wildcards.seed}."""
    input:
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        folds=rules.split.output.folds,
        weights=f"{RESULTS}/{{study}}/{{model}}/{RUN}/model.safetensors",
        predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
    output:
        simulator=f"{RESULTS}/{{study}}/{{model}}/{RUN}/simulators/{{simulator}}.safetensors",
        history=f"{RESULTS}/{{study}}/{{model}}/{RUN}/simulators/{{simulator}}_history.tsv",
    log:
        f"{RESULTS}/logs/fit_simulator/{{study}}/{{model}}/{RUN}/{{simulator}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_simulator/{{study}}/{{model}}/{RUN}/{{simulator}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 240),
        gpu=LOCAL_GPU,
    params:
        job=lambda wildcards: fitting_job(wildcards),
        # No simulator can be called like this file: names have no dots.
        checkpoint=f"{RESULTS}/{{study}}/{{model}}/{RUN}/simulators/{{simulator}}.checkpoint.safetensors",
        code=source_digest("heatproof.stages.fit_simulator"),
    script:
        "../scripts/fit_simulator.py"


rule simulate:
    """Judge the simulators of {wildcards.model} of {wildcards.study}, fold {wildcards.fold}, seed {wildcards.seed}."""
    input:
        simulators=fitted_to,
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        folds=rules.split.output.folds,
        weights=f"{RESULTS}/{{study}}/{{model}}/{RUN}/model.safetensors",
        predictions=f"{RESULTS}/{{study}}/{{model}}/{RUN}/predictions.tsv",
        referee=referee_weights,
    output:
        simulations=f"{RESULTS}/{{study}}/{{model}}/{RUN}/simulations.parquet",
        examples=f"{RESULTS}/{{study}}/{{model}}/{RUN}/simulations.h5",
    log:
        f"{RESULTS}/logs/simulate/{{study}}/{{model}}/{RUN}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate/{{study}}/{{model}}/{RUN}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 240),
        gpu=LOCAL_GPU,
    params:
        job=lambda wildcards: simulation_job(wildcards),
        code=lambda wildcards: source_digest(
            "heatproof.stages.simulate",
            *simulators.counterfactual_modules(study_of(wildcards), wildcards.model),
        ),
    script:
        "../scripts/simulate.py"
