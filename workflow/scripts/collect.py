"""Rule `collect`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.stages.collect import CollectFiles, collect

collect(
    [Path(path) for path in snakemake.input.scores],
    [Path(path) for path in snakemake.input.areas],
    [Path(path) for path in snakemake.input.nulls],
    CollectFiles(*(Path(snakemake.output[name]) for name in ("scores", "areas", "nulls"))),
)
