"""Rule `tabulate`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.tabulate import tabulate

with logged(snakemake.log[0]):
    tabulate(
        snakemake.wildcards.study,
        snakemake.params.models,
        **{name: Path(snakemake.input[name]) for name in ("scores", "areas", "nulls", "intake", "volumes")},
        predictions=[Path(path) for path in snakemake.input.predictions],
        seed=int(snakemake.params.seed),
        **snakemake.params.resampling,
        tables={name: Path(path) for name, path in snakemake.output.items()},
    )
