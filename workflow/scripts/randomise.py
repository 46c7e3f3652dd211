"""Rule `randomise`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.probing import ProbeJob
from heatproof.stages.randomise import randomise

with logged(snakemake.log[0]):
    permuted = snakemake.input.get("permuted")
    randomise(
        ProbeJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.input.weights),
        predictions=Path(snakemake.input.predictions),
        maps=Path(snakemake.input.maps),
        probes=Path(snakemake.output.probes),
        permuted=Path(permuted) if permuted else None,
        threads=snakemake.threads,
    )
