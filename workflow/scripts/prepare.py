"""Rule `prepare`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.prepare import prepare

with logged(snakemake.log[0]):
    prepare(
        snakemake.params.spec,
        seed=int(snakemake.params.seed),
        root=Path(snakemake.params.root),
        cohort=Path(snakemake.output.cohort),
        participants=Path(snakemake.output.participants),
        intake=Path(snakemake.output.intake),
        volumes=Path(snakemake.output.volumes),
    )
