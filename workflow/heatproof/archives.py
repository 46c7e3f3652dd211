"""Zip archives from elsewhere: unpacked whole or not at all, and never outside their folder."""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

from heatproof.errors import HeatproofError

LARGEST_BYTES = 64 << 30
MOST_MEMBERS = 200_000
CHUNK = 1 << 20
ENCRYPTED = 0x1
UNPACKING = ".unpacking-"
# What the system says of names that cannot lie in one folder, or are too long: the archive's fault, not the disk's.
IMPOSSIBLE_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)


class ArchiveError(HeatproofError):
    """An archive cannot be unpacked."""


class RefusedArchiveError(ArchiveError):
    """An archive is damaged, or would write where it must not; a fresh copy of it may do."""


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files that a pattern finds in a folder, sorted, without hidden ones and those in hidden folders.

    An archive that was being unpacked when the computer failed leaves its members in a hidden folder.

    Parameters
    ----------
    folder : Path
        The folder, which may be hidden itself.
    pattern : str
        As `Path.glob` takes it.
    """
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def unpack(
    archive: Path,
    folder: Path,
    *,
    largest_bytes: int = LARGEST_BYTES,
    accept: Callable[[Path, list[Path]], None] = lambda place, files: None,
) -> list[Path]:
    """Unpack a zip archive, and the zip archives in it, into a folder.

    Everything is written to a temporary folder first and moved when the last checksum has passed. Archives inside
    the archive are unpacked beside themselves, one level deep, and then removed. What an earlier call left because
    it was killed is removed first, so that one process at a time may unpack into a folder.

    Parameters
    ----------
    archive : Path
        The archive.
    folder : Path
        Where its members come to lie.
    largest_bytes : int
        Most bytes that all members together may unpack to.
    accept : callable
        Looks at the temporary folder and the files in it, and raises where they must not be moved.

    Returns
    -------
    list of Path
        The files, relative to `folder`, sorted.

    Raises
    ------
    RefusedArchiveError
        If it is damaged or encrypted; if a member has an absolute name, climbs out with ``..``, is a link or a
        device, comes twice, or has a name that no file can have beside the others; or if it unpacks to more than is
        allowed or than it states.
    ArchiveError
        If the disk has no room, or the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob(f"{UNPACKING}*"):
        shutil.rmtree(left_over)
    with _writing(archive), TemporaryDirectory(prefix=UNPACKING, dir=folder) as place:
        target = Path(place)
        left = largest_bytes - _extract(archive, target, largest_bytes)
        for inner in sorted(target.rglob("*.zip")):
            left -= _extract(inner, inner.parent, left)
            inner.unlink()
        files = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
        accept(target, files)
        for file in files:
            final = folder / file
            final.parent.mkdir(parents=True, exist_ok=True)
            (target / file).replace(final)
    return files


@contextmanager
def _writing(archive: Path) -> Iterator[None]:
    """Raise an ArchiveError for what the system refuses to write."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"a file cannot be read or written ({error.strerror or error}).",
            file=archive.name,
            field="folder",
            remedy="make room in the data root, and let its folder be written to.",
        ) from error


def _extract(archive: Path, target: Path, allowed: int) -> int:
    """Extract every member into `target` and return their bytes."""
    total = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            names = [_safe_name(archive, member) for member in members]
            _require_sound(archive, members, names, allowed, target)
            for member, name in zip(members, names, strict=True):
                final = target / name
                if final.exists():
                    raise _refused(archive, "a file comes twice", str(name))
                final.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, final.open("wb") as file:
                    # A member that holds more than it states ends in a wrong checksum inside `read`.
                    while block := source.read(CHUNK):
                        file.write(block)
                        total += len(block)
                        if total > allowed:
                            raise _refused(archive, f"it unpacks to more than {allowed} bytes", str(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(archive, f"it is damaged ({error})", "archive") from error
    except OSError as error:
        if error.errno not in IMPOSSIBLE_NAMES:
            raise
        raise _refused(archive, f"a member has an impossible name ({error.strerror})", "members") from error
    return total


def _safe_name(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return the path of a member inside the target; raise if it leads anywhere else."""
    # Backslashes and drives mean something on other systems only, and nothing good on any.
    name = PurePosixPath(member.orig_filename.replace("\\", "/"))
    if name.is_absolute() or PureWindowsPath(member.orig_filename).drive or ".." in name.parts or not name.parts:
        raise _refused(archive, "a member leads out of the folder", member.orig_filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _refused(archive, "a member is a link or a device, not a file", member.orig_filename)
    if member.flag_bits & ENCRYPTED:
        raise _refused(archive, "a member is encrypted", member.orig_filename)
    return name


def _require_sound(
    archive: Path, members: list[zipfile.ZipInfo], names: list[PurePosixPath], allowed: int, target: Path
) -> None:
    # Compared without case, because some file systems do not know it.
    if len({str(name).casefold() for name in names}) < len(names):
        raise _refused(archive, "a file comes twice", "members")
    if len(members) > MOST_MEMBERS:
        raise _refused(archive, f"it has {len(members)} members", "members")
    stated = sum(member.file_size for member in members)
    if stated > allowed:
        raise _refused(archive, f"it unpacks to {stated} bytes, more than the {allowed} that are allowed", "size")
    free = shutil.disk_usage(target).free
    if stated > free:
        raise ArchiveError(
            f"it unpacks to {stated} bytes, and the disk has {free} left.",
            file=archive.name,
            field="size",
            remedy="make room, or choose another data_root.",
        )


def _refused(archive: Path, problem: str, field: str) -> RefusedArchiveError:
    return RefusedArchiveError(
        f"{problem}; nothing was unpacked.", file=archive.name, field=field, remedy="fetch it from its origin."
    )
