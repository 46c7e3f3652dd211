"""Rule `read_ratings`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.ratings import RatingTables, read_ratings

with logged(snakemake.log[0]):
    read_ratings(
        [Path(path) for path in snakemake.input.answers],
        key=Path(snakemake.params.key),
        scores=Path(snakemake.input.scores),
        probes=Path(snakemake.input.probes),
        outputs=RatingTables(**{name: Path(path) for name, path in snakemake.output.items()}),
        seed=int(snakemake.params.seed),
        n_bootstrap=int(snakemake.params.n_bootstrap),
    )
