"""Rule `fetch`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.fetch import fetch

with logged(snakemake.log[0]):
    fetch(
        snakemake.params.spec,
        root=Path(snakemake.params.root),
        offline=bool(snakemake.config.get("offline", False)),
        fetched=Path(snakemake.output.fetched),
    )
