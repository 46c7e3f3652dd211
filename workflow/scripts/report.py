"""Rule `report`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.report import report, study_files

with logged(snakemake.log[0]):
    report(
        {
            name: study_files(Path(snakemake.params.results), name, entry)
            for name, entry in snakemake.params.studies.items()
        },
        seed=int(snakemake.params.seed),
        output=Path(snakemake.output[0]),
    )
