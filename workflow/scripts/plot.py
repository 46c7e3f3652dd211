"""Rule `plot`: unpack Snakemake's job and call the stage."""

from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.plot import plot
from heatproof.stages.results import PlotInputs

with logged(snakemake.log[0]):
    inputs = PlotInputs(
        study=snakemake.wildcards.study,
        models=snakemake.params.models,
        tables={
            name.removeprefix("table_"): Path(path)
            for name, path in snakemake.input.items()
            if name.startswith("table_")
        },
        truths={Path(path).stem: Path(path) for path in snakemake.input.truths},
        **{name: Path(snakemake.input[name]) for name in ("areas", "cohort", "participants", "volumes", "curves")},
        **{name: [Path(path) for path in snakemake.input[name]] for name in ("group_maps", "histories", "predictions")},
        examples=[Path(path) for path in snakemake.input.get("examples", [])],
        simulations=[Path(path) for path in snakemake.input.get("simulations", [])],
        seed=int(snakemake.params.seed),
    )
    figures: dict[str, list[Path]] = {}
    for path in map(Path, snakemake.output):
        figures.setdefault(path.stem, []).append(path)
    plot(inputs, figures)
