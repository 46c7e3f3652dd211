"""Tiny 2-D images in every format that is read, written the way that real data lie on a disk."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

# What MATLAB writes in front of an HDF5 file of version 7.3: 116 bytes of text, version, endianness.
MATLAB_HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."


def grey(number: int = 0, shape: tuple[int, int] = (24, 16)) -> np.ndarray:
    """Return values without any symmetry, so that a lost turn or flip shows."""
    return np.random.default_rng(number).integers(1, 250, shape).astype(np.uint8)


def disc(shape: tuple[int, int] = (24, 16), centre: tuple[float, float] = (8, 6), radius: float = 4) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def write_png(path: Path, values: np.ndarray, **keys: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **keys)
    return path


def write_mask(path: Path, inside: np.ndarray) -> Path:
    return write_png(path, np.where(inside, 255, 0).astype(np.uint8))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_raw_png(path: Path, values: np.ndarray, depth: int, kind: int) -> Path:
    """Write a PNG chunk by chunk, for kinds that Pillow reads but does not write (sixteen bits in colour)."""
    rows, columns = values.shape[:2]
    lines = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", columns, rows, depth, kind, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def write_dicom(path: Path, stored: np.ndarray, **tags: Any) -> Path:
    """Write one uncompressed grey image; `tags` override or add elements, None removes one."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data.Modality = "CT"
    data.Rows, data.Columns = stored.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_slice(path: Path, image: np.ndarray, mask: np.ndarray, label: int, patient: str) -> Path:
    """Write a slice in the layout of figshare 1512427: MATLAB 7.3, columns first, strings as character codes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        group["image"] = image.T.astype(np.int16)
        group["tumorMask"] = mask.T.astype(np.uint8)
        group["label"] = np.array([[float(label)]])
        group["PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        group["tumorBorder"] = np.zeros((1, 8))
    block = MATLAB_HEADER.ljust(116) + b"\0" * 8 + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(block.ljust(512, b"\0"))
    return path
