"""Who was scanned: ``participants.tsv`` and the sessions tables of BIDS and CAPS folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatproof.cohorts.folders import inside
from heatproof.cohorts.listed_tables import read_listing
from heatproof.errors import ConfigError


class People:
    """Look up a person and a session.

    Parameters
    ----------
    root : Path
        Data root; no table may lie outside.
    folder : Path
        Holds ``participants.tsv`` and, per person, ``sub-X/sub-X_sessions.tsv`` (in BIDS) or
        ``subjects/sub-X/sub-X_sessions.tsv`` (in CAPS).
    diagnosis_column : str
        Column with the diagnosis.
    session_level : bool
        Whether a diagnosis may come from the sessions table only, as in longitudinal studies.

    Raises
    ------
    ConfigError
        If the column holds the diagnosis at screening, which later scans need not share, or a table is a link
        out of the root.
    """

    def __init__(self, root: Path, folder: Path, diagnosis_column: str, session_level: bool) -> None:
        if diagnosis_column.endswith("_sc"):
            raise ConfigError(
                f"'{diagnosis_column}' is the diagnosis at screening only.",
                field="cohort.diagnosis_column",
                remedy="use the column with the diagnosis at each session, such as 'diagnosis'.",
            )
        self._root, self._folder = root, folder
        self._column = diagnosis_column
        self._session_level = session_level
        table = read_listing(self._inside(folder / "participants.tsv"), ("participant_id",))
        self._people = {str(row["participant_id"]): row for row in table.to_dict("records")}
        self._sessions: dict[str, dict[str, dict[str, Any]]] = {}

    def _inside(self, path: Path) -> Path:
        return inside(self._root, path, field="cohort.folder")

    @property
    def participant_ids(self) -> list[str]:
        """Everybody in the table, in its order."""
        return list(self._people)

    def row(self, participant_id: str, session_id: str | None) -> dict[str, Any]:
        """Return a line for the cohort's table; ``diagnosis`` is missing where the tables do not give it.

        What is said about a session goes before what is said about the person.
        """
        person = dict(self._people.get(participant_id, {}))
        session = dict(self._of(participant_id).get(session_id or "", {}))
        from_person = None if self._session_level else person.get(self._column)
        diagnosis = session.pop(self._column, None)
        person.pop(self._column, None)
        known = {name: value for name, value in session.items() if value == value}
        return {
            **{str(name): value for name, value in {**person, **known}.items() if name != "session_id"},
            "participant_id": participant_id,
            **({"session": session_id} if session_id else {}),
            "diagnosis": diagnosis if diagnosis is not None and diagnosis == diagnosis else from_person,
        }

    def _of(self, participant_id: str) -> dict[str, dict[str, Any]]:
        if participant_id not in self._sessions:
            name = f"{participant_id}_sessions.tsv"
            places = [self._folder / "subjects" / participant_id, self._folder / participant_id]
            found = next((place / name for place in places if (place / name).is_file()), None)
            rows = read_listing(self._inside(found), ("session_id",)).to_dict("records") if found else []
            self._sessions[participant_id] = {
                str(row["session_id"]): {str(key): value for key, value in row.items()} for row in rows
            }
        return self._sessions[participant_id]
