"""2-D images, masks and DICOM files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bad_input import Trial
from cohorts.picture_files import disc, grey, png_chunk, write_dicom, write_mask, write_png, write_raw_png, write_slice
from cohorts.scan_files import outputs, write_rows
from heatproof.configuration import schema_entries
from heatproof.stages.prepare import prepare

SHAPE = (24, 16)
BAD = 3


def _entry(source: str, **keys: Any) -> dict[str, Any]:
    properties = schema_entries("cohorts_images.yaml")[source]["properties"]
    defaults = {name: entry["default"] for name, entry in properties.items() if "default" in entry}
    return {**defaults, "source": source, **keys}


def with_image(spoil: Callable[[Path], object], suffix: str = ".png", **keys: Any) -> Callable[[Path], object]:
    """Return an attempt with one of six images spoiled, whose mask lies in masks/3.png."""

    def attempt(folder: Path) -> None:
        rows: list[dict[str, object]] = []
        for number in range(6):
            name = f"images/{number}{suffix if number == BAD else '.png'}"
            if name.endswith(".png"):
                write_png(folder / name, grey(number))
            write_mask(folder / f"masks/{number}.png", disc(centre=(6 + number, 6)))
            rows.append({"scan_id": f"image-{number}", "participant_id": f"person-{number}", "path": name,
                         "diagnosis": ("control", "tumour")[number % 2],
                         "mask_path": f"masks/{number}.png" if number % 2 else ""})  # fmt: skip
        write_rows(folder / "images.tsv", rows)
        spoil(folder / f"images/{BAD}{suffix}")
        size = {"image_size": list(SHAPE), **keys}
        spec = _entry("images", table="images.tsv", classes=["control", "tumour"], **size)
        prepare(spec, seed=1, root=folder, **outputs(folder / "results"))

    return attempt


def with_mask(inside: np.ndarray, **keys: Any) -> Callable[[Path], object]:
    return with_image(lambda path: write_png(path.parents[1] / f"masks/{BAD}.png", inside), **keys)


def with_dicom(
    stored: np.ndarray, spoil: Callable[[Path], object] = lambda path: None, **tags: Any
) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        write_dicom(path, stored, **tags)
        spoil(path)

    return with_image(write, ".dcm", require_masks=False)


def with_slices(spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return an attempt with one of six original files of the brain tumours spoiled."""

    def attempt(folder: Path) -> None:
        for number in range(1, 7):
            write_slice(folder / f"tumours/{number}.mat", grey(number), disc(), 1 + number % 3, f"p{number}")
        spoil(folder / f"tumours/{BAD}.mat")
        spec = _entry("cheng", folder="tumours", image_size=list(SHAPE))
        prepare(spec, seed=1, root=folder, **outputs(folder / "results"))

    return attempt


def _bomb(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _frames(path: Path) -> None:
    frames = [Image.fromarray(grey(number)) for number in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _glass(path: Path) -> None:
    opacity = np.full(SHAPE, 255, np.uint8)
    opacity[3, 4] = 10
    write_png(path, np.stack([grey(BAD), opacity], axis=2))


def _compressed(path: Path) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    data = dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = encapsulate([b"\xff\xd8 no picture"])
    data["PixelData"].VR = "OB"
    data.save_as(path)


def _cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


DOTTED = (disc() * 255).astype(np.uint8)
DOTTED[20, 12] = 100
NO_MASK = np.zeros(SHAPE, np.uint8)
STORED = grey(BAD).astype(np.uint16)

TRIALS = (
    Trial("the image is missing", with_image(lambda path: path.unlink())),
    Trial("zero bytes", with_image(lambda path: path.write_bytes(b""))),
    Trial("text named .png", with_image(lambda path: path.write_text("index,label\n1,2\n"))),
    Trial("a GIF named .png", with_image(lambda path: Image.fromarray(grey(BAD)).save(path, format="GIF"))),
    Trial("truncated", with_image(lambda path: _cut(path, 200))),
    Trial("a flipped bit", with_image(_flip_bit)),
    Trial("a header that promises 60,000 x 60,000 pixels", with_image(_bomb)),
    Trial("all pixels are the same", with_image(lambda path: write_png(path, np.full(SHAPE, 7, np.uint8)))),
    Trial("in colour", with_image(lambda path: write_png(path, np.stack([grey(n) for n in (1, 2, 3)], 2)))),
    Trial("in colour of 16 bits", with_image(lambda path: write_raw_png(path, np.stack([STORED] * 3, 2), 16, 2))),
    Trial("a JPEG in the colours of a printer",
          with_image(lambda path: Image.fromarray(grey(BAD)).convert("CMYK").save(path, format="JPEG"))),
    Trial("transparent", with_image(_glass)),
    Trial("an animation", with_image(_frames)),
    Trial("the same pixels under two ids",
          with_image(lambda path: Image.fromarray(grey(1)).save(path, compress_level=0))),
    Trial("a mask of another size", with_mask((disc((12, 8), (4, 3), 2) * 255).astype(np.uint8))),
    Trial("an empty mask of a lesion", with_mask(NO_MASK)),
    Trial("a mask with shades", with_mask(DOTTED)),
    Trial("a heatmap instead of a mask", with_mask(grey(9))),
    Trial("a lesion that the grid loses", with_mask((disc(radius=0) * 255).astype(np.uint8), image_size=[6, 4])),
    Trial("the mask is missing", with_image(lambda path: (path.parents[1] / f"masks/{BAD}.png").unlink())),
    Trial("DICOM: truncated pixels", with_dicom(STORED, lambda path: _cut(path, 100))),
    Trial("DICOM: truncated header", with_dicom(STORED, lambda path: path.write_bytes(path.read_bytes()[:140]))),
    Trial("DICOM: nothing readable behind its mark",
          with_dicom(STORED, lambda path: path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 40))),
    Trial("DICOM: several frames", with_dicom(np.zeros((3, *SHAPE), np.uint16), NumberOfFrames=3)),
    Trial("DICOM: in colour", with_dicom(STORED, PhotometricInterpretation="RGB", SamplesPerPixel=3)),
    Trial("DICOM: a palette", with_dicom(STORED, PhotometricInterpretation="PALETTE COLOR")),
    Trial("DICOM: no word on what bright means", with_dicom(STORED, PhotometricInterpretation=None)),
    Trial("DICOM: text burnt into the pixels", with_dicom(STORED, BurnedInAnnotation="YES")),
    Trial("DICOM: 60,000 x 60,000 pixels", with_dicom(STORED, Rows=60_000, Columns=60_000)),
    Trial("DICOM: nothing but padding", with_dicom(STORED * 0, PixelPaddingValue=0)),
    Trial("DICOM: a compression that cannot be read", with_dicom(STORED, _compressed)),
    Trial("MATLAB: truncated", with_slices(lambda path: _cut(path, 2000))),
    Trial("MATLAB: no such file of version 7.3", with_slices(lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file"))),
    Trial("MATLAB: a label that is no class", with_slices(lambda path: write_slice(path, grey(BAD), disc(), 4, "p3"))),
    Trial("MATLAB: no patient", with_slices(lambda path: write_slice(path, grey(BAD), disc(), 1, ""))),
)  # fmt: skip
