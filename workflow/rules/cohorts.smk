# From scans to a cohort, its folds and its truths.
#
# in:  the study's `cohort`, `folds` and `truths` sections, the user's files that they name, and what was fetched
# out: {study}/cohort.h5 participants.tsv intake.tsv volumes.tsv, folds.tsv leakage.tsv, truths/{truth}.*


rule prepare:
    """Pass every scan of {wildcards.study} through the intake gate into one store."""
    input:
        lambda wildcards: own_files(study_of(wildcards)["cohort"]),
        fetched=fetched_data,
    output:
        cohort=f"{RESULTS}/{{study}}/cohort.h5",
        participants=f"{RESULTS}/{{study}}/participants.tsv",
        intake=f"{RESULTS}/{{study}}/intake.tsv",
        volumes=f"{RESULTS}/{{study}}/volumes.tsv",
    log:
        f"{RESULTS}/logs/prepare/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(2000, 30),
    params:
        spec=prepared_part,
        seed=SEED,
        root=DATA_ROOT,
        # What was fetched is known by its checksums, also before it is there.
        data=lambda wildcards: fetched_data(wildcards)
        or data_state(study_of(wildcards)["cohort"], Path(DATA_ROOT)),
        code=source_digest("heatproof.stages.prepare"),
    script:
        "../scripts/prepare.py"


rule split:
    """Divide the people of {wildcards.study} into folds and audit them for leaks."""
    input:
        participants=rules.prepare.output.participants,
        named=lambda wildcards: named_files(study_of(wildcards)["folds"]),
    output:
        folds=f"{RESULTS}/{{study}}/folds.tsv",
        leakage=report(
            f"{RESULTS}/{{study}}/leakage.tsv",
            caption="../report/table_leakage.rst",
            category="{study}",
            labels={"table": "leakage audit"},
        ),
    log:
        f"{RESULTS}/logs/split/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/split/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(1000, 5),
    params:
        spec=lambda wildcards: study_of(wildcards)["folds"],
        recipes=lambda wildcards: sorted(
            {model["recipe"] for model in study_of(wildcards)["models"].values()}
        ),
        fitted=lambda wildcards: studies.fitted_recipes(study_of(wildcards)),
        seed=SEED,
        root=DATA_ROOT,
        code=source_digest("heatproof.stages.split"),
    script:
        "../scripts/split.py"


rule truth:
    """Build the truth {wildcards.truth} on the grid of {wildcards.study}."""
    input:
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        named=lambda wildcards: named_files(
            study_of(wildcards)["truths"][wildcards.truth]
        ),
    output:
        truth=f"{RESULTS}/{{study}}/truths/{{truth}}.h5",
        nifti=f"{RESULTS}/{{study}}/truths/{{truth}}.nii.gz",
        studies=f"{RESULTS}/{{study}}/truths/{{truth}}_studies.tsv",
        foci=f"{RESULTS}/{{study}}/truths/{{truth}}_foci.txt",
    log:
        f"{RESULTS}/logs/truth/{{study}}/{{truth}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/truth/{{study}}/{{truth}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 60),
    params:
        spec=lambda wildcards: study_of(wildcards)["truths"][wildcards.truth],
        seed=SEED,
        root=DATA_ROOT,
        code=source_digest("heatproof.stages.truth"),
    script:
        "../scripts/truth.py"
