"""Identifiers: when two spellings are one, and which ones cannot be told apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from heatproof.cohorts.findings import Finding
from heatproof.cohorts.store import Record

MISSING_WORDS = frozenset({"", "n/a", "na", "nan", "none", "null", "unknown", "unk", "?", "-", ".", "<na>"})


def comparable(value: object) -> str:
    """Return an identifier without the differences that spelling makes: case, spaces, zero padding.

    ``"SUB-007 "`` and ``"sub-7"`` come out the same; a missing value comes out empty.
    """
    text = "" if value is None or value != value else str(value).strip().casefold()
    return "" if text in MISSING_WORDS else re.sub(r"(?<!\d)0+(?=\d)", "", text)


def identifier_findings(records: Iterable[Record]) -> list[Finding]:
    """Return a finding for each scan with a missing, padded, repeated or twice spelled identifier."""
    records = list(records)
    found: list[Finding] = []
    for record in records:
        for field in ("scan_id", "participant_id"):
            text = str(record.row.get(field) or "")
            if not comparable(record.row.get(field)):
                found.append(_finding(record, field, "the identifier is missing", "fill it in"))
            elif text != text.strip():
                found.append(_finding(record, field, f"'{text}' is padded with spaces", "remove the spaces"))
    found += _repeated(records)
    for field in ("scan_id", "participant_id"):
        found += _spelled_twice(records, field)
    return found


def _repeated(records: list[Record]) -> list[Finding]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[str(record.row.get("scan_id") or "")].append(record)
    return [
        _finding(record, "scan_id", f"the id is used by {len(group)} scans", "give every scan its own id")
        for name, group in groups.items()
        if len(group) > 1 and comparable(name)
        for record in group
    ]


def _spelled_twice(records: list[Record], field: str) -> list[Finding]:
    spellings: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if comparable(record.row.get(field)):
            text = str(record.row[field])
            spellings[comparable(text)][text].append(record)
    return [
        _finding(
            record,
            field,
            "ids differ only in case or padding: " + ", ".join(f"'{name}'" for name in sorted(variants)),
            "spell one identifier one way, or make two of them differ",
        )
        for variants in spellings.values()
        if len(variants) > 1
        for group in variants.values()
        for record in group
    ]


def _finding(record: Record, field: str, reason: str, remedy: str) -> Finding:
    return Finding(str(record.row.get("scan_id") or ""), record.file, field, reason, "bad", remedy)
