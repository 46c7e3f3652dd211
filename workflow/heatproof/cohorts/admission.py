"""From a source to a stored cohort: list, check, load, check again, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heatproof.cohorts.findings import Finding, refuse
from heatproof.cohorts.intake import (
    bad_ones,
    check_listing,
    check_scan,
    intake_table,
    participant_row,
    policy,
    require_classes,
    same_image,
)
from heatproof.cohorts.store import Record, Source
from heatproof.cohorts.volumes import area_volumes, volumes_table
from heatproof.cohorts.writer import CohortWriter
from heatproof.errors import HeatproofError, IntakeError
from heatproof.files import sha256_of_array, write_table


@dataclass
class _Pass:
    """What one walk over the scans found and stored."""

    findings: list[Finding] = field(default_factory=list)
    accepted: list[Record] = field(default_factory=list)
    volumes: dict[str, Mapping[int, float]] = field(default_factory=dict)
    twins: list[Finding] = field(default_factory=list)


def admit(
    source: Source,
    spec: Mapping[str, Any],
    *,
    cohort: Path,
    participants: Path,
    intake: Path,
    volumes: Path,
) -> None:
    """Store the scans of a source that pass the gate (see `heatproof.stages.prepare.prepare`)."""
    stop = policy(spec) == "stop"
    records = list(source.records)
    findings = check_listing(source, records)
    _stop_if_bad(findings, stop, len(records), intake)
    while True:
        refused = {(one.scan_id, one.file) for one in bad_ones(findings)}
        rest = [one for one in records if (str(one.row["scan_id"]), one.file) not in refused]
        result = _store(source, rest, spec, findings, cohort, participants, intake)
        if not result.twins:
            break
        # Two ids hold one image: neither can be believed, and the first is already in the store.
        findings += result.twins
    findings += result.findings
    write_table(intake_table(findings, result.accepted), intake)
    write_table(volumes_table(result.volumes, source.label_names), volumes)


def _store(
    source: Source,
    records: Sequence[Record],
    spec: Mapping[str, Any],
    findings: Sequence[Finding],
    cohort: Path,
    participants: Path,
    intake: Path,
) -> _Pass:
    """Load, check and write the scans one by one; `findings` are those of the listing."""
    stop = policy(spec) == "stop"
    result = _Pass()
    seen: dict[str, Record] = {}
    writer: CohortWriter | None = None
    channels: int | None = None
    if records:
        require_classes(records, source)
    with ExitStack() as stack:
        for record in records:
            try:
                scan = check_scan(record, source, channels, bool(spec.get("fill_not_finite", False)))
            except HeatproofError as error:
                result.findings.append(Finding.of_error(record, error))
                continue
            digest = sha256_of_array(scan.values.astype("float32"))
            if digest in seen:
                ids = [str(one.row["scan_id"]) for one in (seen[digest], record)]
                result.twins += [same_image(one, ids) for one in (seen[digest], record)]
                continue
            seen[digest] = record
            channels = len(scan.values)
            if writer is None:
                writer = stack.enter_context(CohortWriter(cohort, participants, source, channels))
            writer.add(participant_row(record, source), scan)
            result.accepted.append(record)
            result.volumes[str(record.row["scan_id"])] = area_volumes(scan, source)
        # Raised inside the writer's context, so that no store of a part of the cohort appears.
        _stop_if_bad([*findings, *result.findings, *result.twins], stop, len(records), intake)
        if writer is None:
            raise IntakeError(
                "no scan is left after intake.\n"
                + "\n".join(f"  {one.scan_id}: {one.field}: {one.reason}" for one in result.findings),
                field="cohort",
                remedy="mend the scans.",
            )
        require_classes(result.accepted, source)
    return result


def _stop_if_bad(findings: Sequence[Finding], stop: bool, n_scans: int, intake: Path) -> None:
    bad = bad_ones(findings)
    if stop and bad:
        write_table(intake_table(findings, []), intake)
        raise refuse(bad, n_scans)
