"""Rule `tabulate`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.tabulate import tabulate

with logged(snakemake.log[0]):
    tabulate(
        snakemake.wildcards.study,
        snakemake.params.models,
        snakemake.params.methods,
        **{name: Path(path) for name, path in snakemake.input.items() if name not in ("predictions", "certificates")},
        predictions=[Path(path) for path in snakemake.input.predictions],
        certificates=[Path(path) for path in snakemake.input.certificates],
        settings=snakemake.params.settings,
        simulators=snakemake.params.simulators,
        seed=int(snakemake.params.seed),
        **snakemake.params.resampling,
        tables={name: Path(path) for name, path in snakemake.output.items()},
    )
