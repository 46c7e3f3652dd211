"""Rule `attribute`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.attribute import AttributionJob, attribute

with logged(snakemake.log[0]):
    permuted = snakemake.input.get("permuted")
    attribute(
        AttributionJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.input.weights),
        predictions=Path(snakemake.input.predictions),
        maps=Path(snakemake.output.maps),
        permuted=Path(permuted) if permuted else None,
        threads=snakemake.threads,
    )
