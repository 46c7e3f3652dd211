"""Rule `collect`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.collect import collect

with logged(snakemake.log[0]):
    collect(
        {name: [Path(path) for path in snakemake.input.get(name, [])] for name, _ in snakemake.output.items()},
        {name: Path(path) for name, path in snakemake.output.items()},
    )
