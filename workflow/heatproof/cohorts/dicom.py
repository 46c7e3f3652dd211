"""DICOM images: one frame, its real-world values, and the size of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.findings import Note
from heatproof.cohorts.pictures import require_file, require_size
from heatproof.errors import IntakeError

GREY = ("MONOCHROME1", "MONOCHROME2")
WINDOWS = ("none", "file")


@dataclass(frozen=True)
class DicomHeader:
    """What the header of a DICOM image says.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    spacing : tuple of float, optional
        Distance of rows and of columns in mm, where the file knows it.
    unit : str
        Unit of the values after rescaling (``HU``, ``US`` ...), with the modality.
    notes : list of (field, remark)
        What will be done to read it.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float] | None
    unit: str
    notes: list[Note]


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM files do, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def read_dicom_header(path: Path, *, allow_burnt_in: bool = False) -> DicomHeader:
    """Return what the header says, after checking that the file holds one grey image.

    Parameters
    ----------
    path : Path
        The file.
    allow_burnt_in : bool
        Whether images with burnt-in text are taken.

    Raises
    ------
    IntakeError
        If the file cannot be read, has several frames or colours, or text burnt into its pixels.
    """
    data = _dataset(path, pixels=False)
    try:
        rows, columns = int(data.Rows), int(data.Columns)
        frames, samples = int(data.get("NumberOfFrames") or 1), int(data.get("SamplesPerPixel") or 1)
        kind = str(data.PhotometricInterpretation)
    except (AttributeError, ValueError, TypeError) as error:
        raise _refused(path, f"the header is incomplete ({error})", "file", "export the image again") from error
    require_size(rows, columns, path)
    if frames != 1:
        raise _refused(path, f"the file holds {frames} frames", "NumberOfFrames", "export one frame per file")
    if samples != 1 or kind not in GREY:
        raise _refused(
            path,
            f"the pixels are {kind} with {samples} samples, not one channel of grey",
            "PhotometricInterpretation",
            "export the image in shades of grey",
        )
    notes = [("PhotometricInterpretation", "stored with bright as black; inverted")] if kind == "MONOCHROME1" else []
    if str(data.get("BurnedInAnnotation", "")).upper() == "YES":
        if not allow_burnt_in:
            raise _refused(
                path,
                "text is burnt into the pixels: a network may read it, and it may name the patient",
                "BurnedInAnnotation",
                "cover the text, or set allow_burnt_in: true",
            )
        notes.append(("BurnedInAnnotation", "text is burnt into the pixels"))
    spacing = _spacing(data, notes)
    unit = f"{data.get('RescaleType') or 'no unit'} of modality {data.get('Modality') or 'unknown'}"
    return DicomHeader((rows, columns), spacing, unit, notes)


def read_dicom(path: Path, window: str = "none") -> np.ndarray:
    """Return the values of a DICOM image, shape (rows, columns), float32, bright being large.

    Slope and intercept (or the modality's table) are applied; pixels that the file calls padding get the
    smallest real value.

    Parameters
    ----------
    path : Path
        One that `read_dicom_header` has accepted.
    window : {"none", "file"}
        Whether the file's own window (or its table of values of interest) is applied.

    Raises
    ------
    IntakeError
        If the pixels are truncated, compressed in a way that cannot be read, or all padding.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    data = _dataset(path, pixels=True)
    try:
        stored = data.pixel_array
    except Exception as error:  # Decoders raise whatever they like.
        raise _refused(
            path,
            # One line, because a finding is a row of a table.
            f"the pixels cannot be decoded ({' '.join(str(error).split()).rstrip('.')})",
            "PixelData",
            "copy the file again, or export it without compression",
        ) from error
    values = apply_modality_lut(stored, data)
    if window == "file":
        values = apply_voi_lut(values, data)
    values = np.asarray(values, dtype=np.float64)
    if data.PhotometricInterpretation == "MONOCHROME1":
        # Mirrored within what the file can hold, not within this image, so that equal stays equal between images.
        signed = int(data.PixelRepresentation)
        lowest = -(1 << (int(data.BitsStored) - 1)) if signed else 0
        ends = np.array([lowest, lowest + (1 << int(data.BitsStored)) - 1])
        values = float(np.sum(apply_modality_lut(ends.astype(stored.dtype), data))) - values
    padding = _padding(data, stored)
    if padding.all():
        raise _refused(path, "every pixel is padding", "PixelPaddingValue", "export the image again")
    values[padding] = values[~padding].min()
    return values.astype(np.float32)


def _padding(data: Any, stored: np.ndarray) -> np.ndarray:
    """Return where the pixels are padding, shape (rows, columns)."""
    first = data.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, bool)
    last = data.get("PixelPaddingRangeLimit", first)
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _spacing(data: Any, notes: list[Note]) -> tuple[float, float] | None:
    """Return the distances of rows and columns in mm, noting where they are those of the detector."""
    found = data.get("PixelSpacing")
    if not found and data.get("ImagerPixelSpacing"):
        found = data.ImagerPixelSpacing
        notes.append(("ImagerPixelSpacing", "pixel sizes are those at the detector, not in the body"))
    if not found or len(found) != 2 or min(float(step) for step in found) <= 0:
        return None
    return float(found[0]), float(found[1])


def _dataset(path: Path, *, pixels: bool) -> Any:
    from pydicom import dcmread

    require_file(path)
    try:
        return dcmread(path, stop_before_pixels=not pixels)
    except Exception as error:  # A damaged file ends in whatever error its bytes lead to.
        raise _refused(
            path, f"this cannot be read as DICOM ({str(error).rstrip('.')})", "file", "copy it again from its origin"
        ) from error


def _refused(path: Path, problem: str, field: str, remedy: str) -> IntakeError:
    return IntakeError(f"{problem}.", file=path.name, field=field, remedy=f"{remedy}.")
