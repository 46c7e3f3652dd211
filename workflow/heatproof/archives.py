"""Zip archives from elsewhere: unpacked whole or not at all, and never outside their folder."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

from heatproof.errors import HeatproofError

LARGEST_BYTES = 64 << 30
MOST_MEMBERS = 200_000
CHUNK = 1 << 20
ENCRYPTED = 0x1


class ArchiveError(HeatproofError):
    """An archive is damaged, or would write where it must not."""


def unpack(archive: Path, folder: Path, *, largest_bytes: int = LARGEST_BYTES) -> list[Path]:
    """Unpack a zip archive, and the zip archives in it, into a folder.

    Everything is written to a temporary folder first and moved when the last checksum has passed. Archives inside
    the archive are unpacked beside themselves, one level deep, and then removed.

    Parameters
    ----------
    archive : Path
        The archive.
    folder : Path
        Where its members come to lie.
    largest_bytes : int
        Most bytes that all members together may unpack to.

    Returns
    -------
    list of Path
        The files, relative to `folder`, sorted.

    Raises
    ------
    ArchiveError
        If it is damaged or encrypted; if a member has an absolute name, climbs out with ``..``, is a link or a
        device, or comes twice; or if it unpacks to more than is allowed, than it states, or than the disk holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".unpacking-", dir=folder) as place:
        target = Path(place)
        left = largest_bytes - _extract(archive, target, largest_bytes)
        for inner in sorted(target.rglob("*.zip")):
            left -= _extract(inner, inner.parent, left)
            inner.unlink()
        files = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
        for file in files:
            final = folder / file
            final.parent.mkdir(parents=True, exist_ok=True)
            (target / file).replace(final)
    return files


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


def _refused(archive: Path, problem: str, field: str) -> ArchiveError:
    return ArchiveError(
        f"{problem}; nothing was unpacked.", file=archive.name, field=field, remedy="fetch it from its origin."
    )
