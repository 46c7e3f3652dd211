"""Rule `score`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.score import ScoreFiles, score_each
from heatproof.stages.scoring import Origin

with logged(snakemake.log[0]):
    score_each(
        [Path(path) for path in snakemake.input.maps],
        Path(snakemake.input.cohort),
        Path(snakemake.input.participants),
        Path(snakemake.input.predictions),
        {Path(path).stem: Path(path) for path in snakemake.input.truths},
        snakemake.params.spec,
        Origin(
            snakemake.params.study,
            snakemake.wildcards.model,
            snakemake.params.recipe,
            fold=int(snakemake.wildcards.fold),
            seed=int(snakemake.wildcards.seed),
        ),
        [
            ScoreFiles(*map(Path, files))
            for files in zip(snakemake.output.scores, snakemake.output.areas, snakemake.output.means, strict=True)
        ],
    )
