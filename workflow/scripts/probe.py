"""Rule `probe`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.probe import ProbeFiles, probe
from heatproof.stages.probing import ProbeJob

with logged(snakemake.log[0]):
    probe(
        ProbeJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        folds=Path(snakemake.input.folds),
        weights=Path(snakemake.input.weights),
        predictions=Path(snakemake.input.predictions),
        maps={Path(path).parent.name: Path(path) for path in snakemake.input.maps},
        outputs=ProbeFiles(**{name: Path(path) for name, path in snakemake.output.items()}),
        threads=snakemake.threads,
    )
