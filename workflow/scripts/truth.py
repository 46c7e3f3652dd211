"""Rule `truth`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.truth import truth

with logged(snakemake.log[0]):
    truth(
        Path(snakemake.input.cohort),
        snakemake.params.spec,
        name=snakemake.wildcards.truth,
        seed=int(snakemake.params.seed),
        root=Path(snakemake.params.root),
        output=Path(snakemake.output.truth),
        studies=Path(snakemake.output.studies),
        nifti=Path(snakemake.output.nifti) if "nifti" in snakemake.output.keys() else None,  # noqa: SIM118
        foci=Path(snakemake.output.foci) if "foci" in snakemake.output.keys() else None,  # noqa: SIM118
        n_cores=int(snakemake.threads),
    )
