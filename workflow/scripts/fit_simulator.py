"""Rule `fit_simulator`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.fit_simulator import SimulatorJob, fit

with logged(snakemake.log[0]):
    fit(
        SimulatorJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.input.weights),
        predictions=Path(snakemake.input.predictions),
        simulator=Path(snakemake.output.simulator),
        history=Path(snakemake.output.history),
        checkpoint=Path(snakemake.params.checkpoint),
        threads=snakemake.threads,
    )
