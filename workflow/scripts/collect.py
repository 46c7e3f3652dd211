"""Rule `collect`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.collect import CollectFiles, collect

with logged(snakemake.log[0]):
    collect(
        [Path(path) for path in snakemake.input.scores],
        [Path(path) for path in snakemake.input.areas],
        [Path(path) for path in snakemake.input.nulls],
        CollectFiles(*(Path(snakemake.output[name]) for name in ("scores", "areas", "nulls"))),
    )
