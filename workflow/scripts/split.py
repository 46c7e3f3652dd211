"""Rule `split`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.split import split

with logged(snakemake.log[0]):
    split(
        Path(snakemake.input.participants),
        snakemake.params.spec,
        snakemake.params.recipes,
        fitted=snakemake.params.fitted,
        seed=int(snakemake.params.seed),
        root=Path(snakemake.params.root),
        folds=Path(snakemake.output.folds),
        leakage=Path(snakemake.output.leakage),
    )
