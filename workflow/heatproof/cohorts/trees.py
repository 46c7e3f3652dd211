"""Folders of subjects and sessions, as BIDS derivatives and CAPS lay them out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from heatproof.cohorts.findings import Finding
from heatproof.cohorts.folders import shown
from heatproof.cohorts.listing import Entry, locate
from heatproof.cohorts.people import People

ENTITY = re.compile(r"([A-Za-z0-9]+)-([A-Za-z0-9.+]+)")


def entities_of(name: str) -> dict[str, str]:
    """Return the entities of a file name, with the last part as ``suffix``.

    ``sub-1_ses-M00_space-MNI_T1w.nii.gz`` gives sub, ses, space and suffix.
    """
    stem = name.removesuffix(".gz").removesuffix(".nii")
    *pairs, suffix = stem.split("_")
    found = {}
    for pair in pairs:
        match = ENTITY.fullmatch(pair)
        if match:
            found[match[1]] = match[2]
    return {**found, "suffix": suffix}


def matches(name: str, wanted: Mapping[str, str]) -> bool:
    """Return whether a file name has every wanted entity; a wanted "" means that it has none of that name."""
    found = entities_of(name)
    return all(found.get(key, "") == value for key, value in wanted.items())


def entries_of(images: Iterable[Path], people: People, root: Path) -> tuple[list[Entry], list[Finding]]:
    """Return one entry per subject and session, and what could not be used.

    Parameters
    ----------
    images : iterable of Path
        The images that match; each lies below folders ``sub-X`` and, if there are sessions, ``ses-Y``.
    people : People
        The tables.
    root : Path
        Data root.
    """
    groups: dict[tuple[str, str | None], list[Path]] = defaultdict(list)
    for image in sorted(images):
        groups[_owner(image)].append(image)
    entries: list[Entry] = []
    findings: list[Finding] = []
    for (subject, session), found in groups.items():
        scan_id = subject if session is None else f"{subject}_{session}"
        if len(found) > 1:
            findings.append(_ambiguous(scan_id, found, root))
            continue
        path, problem = locate(root, root, found[0], scan_id, "path")
        if problem is not None or path is None:
            findings += [problem] if problem else []
            continue
        entries.append(Entry({"scan_id": scan_id, **people.row(subject, session)}, path))
    seen = {subject for subject, _ in groups}
    findings += [
        Finding(subject, "", "path", "no image of this participant matches", "left_out")
        for subject in people.participant_ids
        if subject not in seen
    ]
    return entries, findings


def _owner(image: Path) -> tuple[str, str | None]:
    """Return the subject and session whose folder holds an image."""
    subject = next(part for part in image.parts[::-1] if part.startswith("sub-") and part != image.name)
    session = next((part for part in image.parts[:-1][::-1] if part.startswith("ses-")), None)
    return subject, session


def _ambiguous(scan_id: str, found: list[Path], root: Path) -> Finding:
    names = ", ".join(path.name for path in found)
    return Finding(
        scan_id,
        shown(root, found[0]),
        "path",
        f"{len(found)} images match: {names}",
        "bad",
        "name more entities in the config, so that one image per session is left",
    )
