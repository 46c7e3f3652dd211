"""Rule `draw_kit`: unpack Snakemake's job and call the stage."""

from collections import defaultdict
from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.rating_kit import KitJob, draw_kit


def by_model(paths):
    """Return the maps of every model and method: {model}/{run}/{method}/maps.h5."""
    found = defaultdict(dict)
    for path in map(Path, paths):
        found[path.parents[2].name][path.parent.name] = path
    return found


with logged(snakemake.log[0]):
    draw_kit(
        KitJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        participants=Path(snakemake.input.participants),
        maps=by_model(snakemake.input.maps),
        page=Path(snakemake.output.page),
        key=Path(snakemake.output.key),
    )
