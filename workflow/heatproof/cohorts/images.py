"""NIfTI files: what their headers promise, checked before a voxel is decoded, and then the voxels."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.affines import affine_of
from heatproof.cohorts.findings import Note
from heatproof.errors import IntakeError
from heatproof.geometry import Grid
from heatproof.truths.volumes import whole_numbers

# Share of the non-zero voxels at a 16-bit limit from which an image counts as clipped.
CLIPPED_SHARE = 1e-3
# More than this behind the voxels is no padding: reading on could fill the memory.
SURPLUS_BYTES = 1 << 20
# Largest volume that is decoded, as float64: 0.2 mm over a whole head. A forged header must not fill the memory.
LARGEST_BYTES = 4 << 30
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image says.

    Attributes
    ----------
    path : Path
        The file.
    grid : Grid
        Shape (X, Y, Z) and affine.
    image : nibabel image
        Not decoded yet.
    notes : tuple of (field, remark)
        What was decided in reading it.
    """

    path: Path
    grid: Grid
    image: Any
    notes: tuple[Note, ...] = field(default=())


def read_header(path: Path, affine: str = "strict") -> ImageHeader:
    """Return the header of a NIfTI volume after checking it against the file.

    Parameters
    ----------
    path : Path
        A ``.nii`` or ``.nii.gz`` file.
    affine : {"strict", "sform", "qform"}
        Which affine counts where sform and qform disagree. ``strict`` takes the sform if its code names
        another space than the qform's (the usual case of a registered image) and refuses the image if both
        claim the same space.

    Raises
    ------
    IntakeError
        If the file is missing, empty, truncated, no NIfTI image, has no volume of three axes or more than
        `LARGEST_BYTES` of voxels, or does not say where it lies.
    """
    image = _open(path)
    notes: list[Note] = []
    shape = tuple(int(length) for length in image.shape)
    if len(shape) > 3 and all(length == 1 for length in shape[3:]):
        notes.append(("shape", f"an image of shape {shape} was squeezed to three axes"))
        shape = shape[:3]
    if len(shape) != 3:
        raise IntakeError(
            f"the image has shape {shape}; one volume of three axes is expected.",
            file=path.name,
            field="shape",
            remedy="choose one volume and write it to a file of its own.",
        )
    _require_whole(path, image)
    matrix = affine_of(path, image.header, affine, notes)
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    kind = image.header.get_data_dtype()
    if kind.fields is not None or kind.kind not in "iuf":
        raise IntakeError(
            f"voxels of type {kind} are not intensities.",
            file=path.name,
            field="datatype",
            remedy="use numbers.",
        )
    if kind.kind in "iu" and (slope, intercept) != (1.0, 0.0):
        notes.append(
            (
                "scl_slope",
                f"stored as {kind.name} with slope {slope:.6g} and intercept {intercept:.6g}; "
                "the scaled values are used",
            )
        )
    return ImageHeader(path, Grid(shape, matrix), image, tuple(notes))


def read_values(header: ImageHeader) -> np.ndarray:
    """Return the scaled voxels, shape (X, Y, Z), float32.

    Raises
    ------
    IntakeError
        If the voxels cannot be decoded or a 16-bit type has overflowed.
    """
    raw = _decode(header)
    _require_no_overflow(header.path, raw)
    slope, intercept = header.image.dataobj.slope, header.image.dataobj.inter
    if (slope, intercept) == (1.0, 0.0):
        return raw.astype(np.float32)
    return (raw * np.float64(slope) + np.float64(intercept)).astype(np.float32)


def read_labels(header: ImageHeader) -> np.ndarray:
    """Return a label volume, shape (X, Y, Z), int32.

    Raises
    ------
    IntakeError
        If a value is not a whole number of at most 31 bits.
    """
    raw = _decode(header) * np.float64(header.image.dataobj.slope) + np.float64(header.image.dataobj.inter)
    whole = whole_numbers(raw)
    if whole is None:
        raise IntakeError(
            "labels must be whole numbers.",
            file=header.path.name,
            field="labels_path",
            remedy="resample labels by nearest neighbour and store them as integers.",
        )
    return whole


def _open(path: Path) -> Any:
    """Return the image, not decoded, or say why the file is none."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    def bad(problem: str, remedy: str) -> IntakeError:
        return IntakeError(problem, file=path.name, field="file", remedy=remedy)

    if not path.is_file():
        raise bad("the file does not exist.", "check the path.")
    if path.stat().st_size == 0:
        raise bad("the file is empty (zero bytes).", "copy it again from its origin.")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise bad("the file is neither .nii nor .nii.gz.", "convert it to NIfTI.")
    with path.open("rb") as handle:
        packed = handle.read(2) == GZIP_MAGIC
    if packed != path.name.endswith(".gz"):
        raise bad(
            "the name and the content disagree about compression (wrong magic number).",
            "name it .nii.gz if it is compressed by gzip, else .nii.",
        )
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError, EOFError, OSError, zlib.error, ValueError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise bad(
            f"the header cannot be read ({cause}).",
            "the file is truncated or no NIfTI image (wrong magic number): copy or convert it again.",
        ) from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise bad("the file is no NIfTI image (wrong magic number).", "convert it to NIfTI.")
    return image


def _require_whole(path: Path, image: Any) -> None:
    """Raise an IntakeError if the header promises more than is read, or the file holds fewer bytes than that."""
    header = image.header
    # Products of Python integers: a forged header must not overflow into a small number.
    n_voxels = 1
    for length in image.shape:
        n_voxels *= int(length)
    expected = int(image.dataobj.offset) + n_voxels * header.get_data_dtype().itemsize
    # The offset is forged as easily as the shape, and a packed file is read from its first byte.
    if max(n_voxels * 8, expected) > LARGEST_BYTES:
        raise IntakeError(
            f"the header promises {n_voxels} voxels in {expected} bytes; at most {LARGEST_BYTES // 8} voxels are read.",
            file=path.name,
            field="shape",
            remedy="resample the image to a coarser grid, or copy it again if its header is damaged.",
        )
    if path.name.endswith(".gz"):
        with path.open("rb") as handle:
            handle.seek(-4, 2)
            size = int.from_bytes(handle.read(4), "little")
        # The trailer holds the unpacked size modulo 2**32 of the last member; only where it does not fit
        # (truncated, or several members) is the stream read to its end.
        whole = size == expected % 2**32 or _unpacked_size(path, expected) >= expected
    else:
        whole = path.stat().st_size >= expected
    if not whole:
        raise IntakeError(
            f"the file is truncated: its header promises {expected} bytes.",
            file=path.name,
            field="file",
            remedy="copy it again from its origin.",
        )


def _unpacked_size(path: Path, enough: int) -> int:
    """Return how many bytes can be unpacked, counting no further than `enough`."""
    total = 0
    try:
        with gzip.open(path, "rb") as handle:
            while total < enough and (block := handle.read(1 << 20)):
                total += len(block)
    except (EOFError, OSError, zlib.error):
        # What follows the last whole block cannot be used.
        return 0
    return total


def _decode(header: ImageHeader) -> np.ndarray:
    """Return the voxels as they are stored, shape (X, Y, Z)."""
    try:
        if header.path.name.endswith(".gz"):
            raw = _unpack(header)
        else:
            raw = np.asanyarray(header.image.dataobj.get_unscaled())
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise IntakeError(
            "the voxels cannot be decoded; the file is damaged.",
            file=header.path.name,
            field="file",
            remedy="copy it again from its origin.",
        ) from error
    return raw.reshape(header.grid.shape)


def _unpack(header: ImageHeader) -> np.ndarray:
    """Return the stored voxels of a packed file, read to its end: only there stands the checksum."""
    shape, kind = header.image.shape, header.image.header.get_data_dtype()
    offset, n_bytes = int(header.image.dataobj.offset), int(np.prod(shape)) * kind.itemsize
    with gzip.open(header.path, "rb") as handle:
        content = handle.read(offset + n_bytes)
        surplus = handle.read(SURPLUS_BYTES)
    if len(surplus) == SURPLUS_BYTES:
        raise ValueError("the file holds far more than its header promises")
    return np.frombuffer(content, kind, offset=offset, count=n_bytes // kind.itemsize).reshape(shape, order="F")


def _require_no_overflow(path: Path, raw: np.ndarray) -> None:
    """Raise an IntakeError if a 16-bit image is clipped at a limit of its type, or has wrapped around it."""
    if raw.dtype.kind not in "iu" or raw.dtype.itemsize != 2 or not raw.any():
        return
    limits = np.iinfo(raw.dtype)
    n_used = int(np.count_nonzero(raw))
    clipped = int(np.count_nonzero(raw == limits.max))
    wrapped = 0
    if limits.min < 0:
        clipped += int(np.count_nonzero(raw == limits.min))
        # Bright voxels beyond the limit come back as very negative ones: then both ends are in use.
        if (raw > limits.max // 2).any():
            wrapped = int(np.count_nonzero(raw < limits.min // 2))
    if max(clipped, wrapped) > CLIPPED_SHARE * n_used:
        what = "lie at the limits of" if clipped >= wrapped else "have wrapped around"
        raise IntakeError(
            f"{max(clipped, wrapped) / n_used:.1%} of the voxels {what} {raw.dtype.name}: it has overflowed.",
            file=path.name,
            field="datatype",
            remedy="convert the scan again with a slope, or as float32.",
        )
