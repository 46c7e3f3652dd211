"""Rule `simulate`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.simulate import SimulationJob, simulate

with logged(snakemake.log[0]):
    simulate(
        SimulationJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.input.weights),
        predictions=Path(snakemake.input.predictions),
        simulators={Path(path).stem: Path(path) for path in snakemake.input.simulators},
        referee=Path(snakemake.input.referee) if snakemake.input.referee else None,
        simulations=Path(snakemake.output.simulations),
        examples=Path(snakemake.output.examples),
        threads=snakemake.threads,
    )
