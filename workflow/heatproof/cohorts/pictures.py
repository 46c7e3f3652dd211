"""PNG and JPEG files: what they promise, checked before a pixel is decoded, and then one channel of intensities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.cohorts.findings import Note
from heatproof.errors import IntakeError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")
COLOURS = ("refuse", "luminance")
# Largest picture that is decoded. A forged header must not fill the memory; a mammogram has some 15 million.
LARGEST_PIXELS = 100_000_000
# ITU-R BT.601, the luma of JPEG and PNG.
LUMINANCE = (0.299, 0.587, 0.114)
# JPEG has no sharp edges: values within this share of the largest count as black or white, and this share of a
# mask's pixels may lie between them.
RINGING = 0.1
SHADES_SHARE = 0.05
JPEG_START = b"\xff\xd8"
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """One image as its file holds it.

    Attributes
    ----------
    values : ndarray, shape (rows, columns)
        Intensities, float32.
    lesion : ndarray of bool, shape (rows, columns), optional
        Where the lesion is.
    regions : ndarray of int, shape (rows, columns) of its own file, optional
        Areas such as the lungs, zero outside.
    """

    values: np.ndarray
    lesion: np.ndarray | None = None
    regions: np.ndarray | None = None


def picture_shape(path: Path) -> tuple[tuple[int, int], list[Note]]:
    """Return rows and columns of a PNG or JPEG, as it is to be looked at, and what will be done to read it.

    Raises
    ------
    IntakeError
        If the file is missing, empty, of another format, animated, damaged in its checked parts, or larger than
        `LARGEST_PIXELS`.
    """
    with _opened(path) as picture:
        turned = picture.getexif().get(ORIENTATION, 1)
        columns, rows = picture.size
        if turned >= 5:
            rows, columns = columns, rows
        notes = [("orientation", "turned upright as its EXIF entry says")] if turned not in (0, 1) else []
        return (rows, columns), notes


def read_picture(path: Path, colour: str = "refuse") -> np.ndarray:
    """Return the intensities of a PNG or JPEG, shape (rows, columns), float32, in the numbers of the file.

    Sixteen bits stay sixteen bits; a palette is followed; three equal channels are one; a channel of opacity is
    dropped where the whole picture is opaque.

    Parameters
    ----------
    path : Path
        The file.
    colour : {"refuse", "luminance"}
        What to do with a picture in colour: refuse it, or take 0.299 R + 0.587 G + 0.114 B.

    Raises
    ------
    IntakeError
        As `picture_shape`, and if the picture is truncated, in colour, partly transparent, or in colours of
        sixteen bits.
    """
    channels = _channels(path)
    if channels.ndim == 2:
        return channels
    if (channels == channels[..., :1]).all():
        return channels[..., 0]
    if colour == "luminance":
        return (channels @ np.array(LUMINANCE)).astype(np.float32)
    raise IntakeError(
        "the picture is in colour.",
        file=path.name,
        field="colour",
        remedy="write it in shades of grey, or set colour: luminance.",
    )


def read_mask(path: Path) -> np.ndarray:
    """Return a mask as booleans, shape (rows, columns): inside where a pixel is not zero.

    A mask has two values, zero and another one. Only JPEG, which cannot keep an edge, is cut at half of its largest
    value.

    Raises
    ------
    IntakeError
        As `read_picture`, and if pixels lie between the two values (in JPEG more than a few): labels or a heatmap.
    """
    channels = _channels(path)
    values: np.ndarray = channels if channels.ndim == 2 else channels.max(axis=2)
    largest = float(values.max())
    with path.open("rb") as handle:
        is_lossy = handle.read(len(JPEG_START)) == JPEG_START
    tolerance, share = (RINGING, SHADES_SHARE) if is_lossy else (0.0, 0.0)
    between = np.count_nonzero((values > tolerance * largest) & (values < (1 - tolerance) * largest))
    if between > share * int(np.count_nonzero(values)):
        raise IntakeError(
            f"{between} pixels lie between black and white: this is no mask of inside and outside.",
            file=path.name,
            field="mask",
            remedy="write one mask with two values per file.",
        )
    return (values > 0) & (values >= largest / 2)


def require_file(path: Path) -> None:
    """Raise an IntakeError if a file is missing or empty."""
    if not path.is_file():
        raise IntakeError("the file does not exist.", file=path.name, field="path", remedy="check the path.")
    if not path.stat().st_size:
        raise IntakeError("the file is empty.", file=path.name, field="file", remedy="copy it again from its origin.")


def require_size(rows: int, columns: int, path: Path) -> None:
    """Raise an IntakeError if a picture has no pixel, or more than can be meant."""
    if not 0 < rows * columns <= LARGEST_PIXELS:
        raise IntakeError(
            f"the picture says that it has {rows} x {columns} pixels; up to {LARGEST_PIXELS:,} are read.",
            file=path.name,
            field="shape",
            remedy="check the file; shrink it if it is sound.",
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Yield a picture whose header and checksums have passed."""
    from PIL import Image

    require_file(path)
    try:
        # A first look, because checking uses the picture up.
        with Image.open(path, formats=FORMATS) as picture:
            require_size(picture.height, picture.width, path)
            if getattr(picture, "n_frames", 1) > 1:
                raise IntakeError(
                    "the file holds several pictures.",
                    file=path.name,
                    field="shape",
                    remedy="write one picture to a file of its own.",
                )
            picture.verify()
        with Image.open(path, formats=FORMATS) as picture:
            yield picture
    except Image.UnidentifiedImageError as error:
        raise IntakeError(
            f"this is no {' or '.join(FORMATS)} file, whatever its name says.",
            file=path.name,
            field="file",
            remedy="write the picture as PNG.",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise IntakeError(
            f"the picture cannot be decoded ({str(error).rstrip('.')}); the file is damaged.",
            file=path.name,
            field="file",
            remedy="copy it again from its origin.",
        ) from error


def _channels(path: Path) -> np.ndarray:
    """Return the pixels upright, shape (rows, columns) or (rows, columns, 3), float32, opacity dropped."""
    from PIL import ImageOps

    with _opened(path) as picture:
        picture.load()
        _require_every_bit_read(path, picture)
        upright: Any = ImageOps.exif_transpose(picture)
        if upright.mode == "P" or "transparency" in upright.info:
            upright = upright.convert("RGBA" if upright.mode in ("P", "RGB") else "LA")
        if upright.mode in ("LA", "RGBA"):
            _require_opaque(path, np.asarray(upright.getchannel("A")))
            upright = upright.convert("L" if upright.mode == "LA" else "RGB")
        if upright.mode not in ("1", "L", "I", "I;16", "I;16B", "RGB"):
            raise IntakeError(
                f"pixels of kind {upright.mode} are no intensities.",
                file=path.name,
                field="colour",
                remedy="write the picture in shades of grey.",
            )
        return np.asarray(upright).astype(np.float32)


def _require_every_bit_read(path: Path, picture: Image) -> None:
    """Raise an IntakeError for what the decoder would silently cut to eight bits."""
    if picture.format != "PNG":
        return
    with path.open("rb") as handle:
        depth, kind = handle.read(26)[24:26]
    # Kind 0 is a single channel of grey, which is read in full.
    if depth == 16 and kind != 0:
        raise IntakeError(
            "colours or opacity of sixteen bits would be cut to eight.",
            file=path.name,
            field="colour",
            remedy="write the picture as one channel of sixteen bits.",
        )


def _require_opaque(path: Path, opacity: np.ndarray) -> None:
    if (opacity != opacity.max()).any() or opacity.max() == 0:
        raise IntakeError(
            "parts of the picture are transparent, so that it does not say what is to be seen there.",
            file=path.name,
            field="colour",
            remedy="lay it on a background and write it without a channel of opacity.",
        )
