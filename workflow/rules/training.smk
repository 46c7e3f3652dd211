# One model on one fold with one seed.
#
# in:  {study}/cohort.h5, folds.tsv; the study's `models` and `training` sections, and its `cohort` section where
#      that is simulated and the model predicts a number
# out: {study}/{model}/fold-{fold}_seed-{seed}/model.safetensors history.tsv predictions.tsv certificate.tsv
#      and, for the control method label_permuted, the same under {model}-permuted
from heatproof import outputs


rule train:
    """Train {wildcards.model}{wildcards.permuted} of {wildcards.study}, fold {wildcards.fold}, seed {wildcards.seed}."""
    input:
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        folds=rules.split.output.folds,
        named=lambda wildcards: named_files(model_of(wildcards)),
    output:
        weights=f"{RESULTS}/{{study}}/{{model}}{{permuted}}/{RUN}/model.safetensors",
        history=f"{RESULTS}/{{study}}/{{model}}{{permuted}}/{RUN}/history.tsv",
        predictions=f"{RESULTS}/{{study}}/{{model}}{{permuted}}/{RUN}/predictions.tsv",
        certificate=f"{RESULTS}/{{study}}/{{model}}{{permuted}}/{RUN}/certificate.tsv",
    log:
        f"{RESULTS}/logs/train/{{study}}/{{model}}{{permuted}}/{RUN}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{study}}/{{model}}{{permuted}}/{RUN}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 240),
        gpu=LOCAL_GPU,
    params:
        # Which methods explain a model, and what is fitted to it, is no reason to train it again.
        entry=lambda wildcards: {
            key: value
            for key, value in model_of(wildcards).items()
            if key not in ("methods", "simulators")
        },
        training=lambda wildcards: study_of(wildcards)["training"],
        seed=SEED,
        permute_labels=lambda wildcards: wildcards.permuted != "",
        checkpoint=f"{RESULTS}/{{study}}/{{model}}{{permuted}}/{RUN}/checkpoint.safetensors",
        redrawable=lambda wildcards: outputs.redrawn_cohort(
            study_of(wildcards), wildcards.model
        ),
        root=DATA_ROOT,
        code=lambda wildcards: source_digest(
            "heatproof.stages.train",
            *outputs.redrawn_modules(study_of(wildcards), wildcards.model),
        ),
    script:
        "../scripts/train.py"
