"""Rule `pool`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.pool import PoolFiles, pool_each
from heatproof.stages.scoring import Origin

outputs = snakemake.output

with logged(snakemake.log[0]):
    pool_each(
        [Path(path) for path in snakemake.input.means],
        Path(snakemake.input.cohort),
        Path(snakemake.input.participants),
        {Path(path).stem: Path(path) for path in snakemake.input.truths},
        snakemake.params.spec,
        Origin(snakemake.params.study, snakemake.wildcards.model, snakemake.params.recipe),
        [
            PoolFiles(*map(Path, files))
            for files in zip(outputs.group, outputs.scores, outputs.nulls, outputs.nifti, strict=True)
        ],
        seed=int(snakemake.params.seed),
    )
