"""Rule `pool`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.pool import PoolFiles, pool
from heatproof.stages.scoring import Origin

with logged(snakemake.log[0]):
    pool(
        [Path(path) for path in snakemake.input.means],
        Path(snakemake.input.cohort),
        Path(snakemake.input.participants),
        {Path(path).stem: Path(path) for path in snakemake.input.truths},
        snakemake.params.spec,
        Origin(
            snakemake.params.study,
            snakemake.wildcards.model,
            snakemake.params.recipe,
            snakemake.wildcards.method,
        ),
        PoolFiles(
            *(Path(snakemake.output[name]) for name in ("group", "scores", "nulls")),
            Path(snakemake.output.nifti) if "nifti" in snakemake.output.keys() else None,  # noqa: SIM118
        ),
        seed=int(snakemake.params.seed),
    )
