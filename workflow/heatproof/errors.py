"""Named errors: each says what is wrong, where, and what to do about it."""

from __future__ import annotations


class HeatproofError(Exception):
    """Base of every error that a user can mend.

    Parameters
    ----------
    problem : str
        What is wrong, in one sentence.
    file : str, optional
        The file in which it is wrong.
    field : str, optional
        The field, key, column or layer.
    remedy : str, optional
        What the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: object = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.field = field
        self.remedy = remedy
        where = ": ".join(part for part in (self.file, field) if part)
        text = f"{where}: {problem}" if where else problem
        super().__init__(f"{text} Remedy: {remedy}" if remedy else text)


class ConfigError(HeatproofError):
    """The configuration asks for something that does not exist or contradicts itself."""

    @classmethod
    def of_study(
        cls, problem: str, where: tuple[str, ...], remedy: str, *, path: tuple[str, ...], file: object
    ) -> ConfigError:
        """Return the error that a key of a study is wrong: `where` below the study, which stands at `path`."""
        return cls(problem, file=file, field=".".join((*path, *where)), remedy=remedy)


class IntakeError(HeatproofError):
    """A scan or a participants table cannot enter a cohort."""


class GeometryError(HeatproofError):
    """Two grids do not match, or an affine cannot be trusted."""


class LeakageError(HeatproofError):
    """Something that is scored has been seen in training."""


class TruthError(HeatproofError):
    """A truth map cannot be built from what was given."""


class UnsupportedModelError(HeatproofError):
    """A method cannot explain this network honestly, so it refuses to."""
