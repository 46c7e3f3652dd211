"""Rule `train`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.train import TrainingJob, train

with logged(snakemake.log[0]):
    train(
        TrainingJob(
            model=snakemake.wildcards.model,
            entry=snakemake.params.entry,
            training=snakemake.params.training,
            fold=int(snakemake.wildcards.fold),
            seed=int(snakemake.wildcards.seed),
            study_seed=int(snakemake.params.seed),
            permute_labels=bool(snakemake.params.permute_labels),
            redrawable=snakemake.params.redrawable,
        ),
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.output.weights),
        history=Path(snakemake.output.history),
        predictions=Path(snakemake.output.predictions),
        certificate=Path(snakemake.output.certificate),
        checkpoint=Path(snakemake.params.checkpoint),
        root=Path(snakemake.params.root),
        threads=snakemake.threads,
    )
