"""Rule `agree`: unpack Snakemake's job and call the stage."""

from collections import defaultdict
from pathlib import Path

from heatproof.logs import logged
from heatproof.stages.agree import agree
from heatproof.stages.probing import ProbeJob


def by_method(paths):
    """Return the files of each method, whose folder they lie in."""
    found = defaultdict(list)
    for path in map(Path, paths):
        found[path.parent.name].append(path)
    return found


with logged(snakemake.log[0]):
    agree(
        ProbeJob(**snakemake.params.job),
        cohort=Path(snakemake.input.cohort),
        maps=by_method(snakemake.input.get("maps", [])),
        means=by_method(snakemake.input.means),
        probes=Path(snakemake.output.probes),
    )
