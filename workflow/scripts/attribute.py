"""Rule `attribute`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.attribute import AttributionJob, attribute_each

with logged(snakemake.log[0]):
    permuted = snakemake.input.get("permuted")
    attribute_each(
        [AttributionJob(**job) for job in snakemake.params.jobs],
        [Path(path) for path in snakemake.output.maps],
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.input.weights),
        predictions=Path(snakemake.input.predictions),
        permuted=Path(permuted) if permuted else None,
        simulators={Path(path).stem: Path(path) for path in snakemake.input.simulators},
        threads=snakemake.threads,
    )
