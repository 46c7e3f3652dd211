"""2-D files: every format read to its last bit, everything doubtful refused with file, field and remedy."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import disc, grey, png_chunk, write_dicom, write_mask, write_png, write_raw_png
from PIL import Image

from heatproof.cohorts.dicom import is_dicom, read_dicom, read_dicom_header
from heatproof.cohorts.framing import Framing, axis_weights
from heatproof.cohorts.pictures import picture_shape, read_mask, read_picture
from heatproof.errors import ConfigError, IntakeError

SHAPE = (24, 16)


def refused(action: Any, *words: str) -> None:
    with pytest.raises(IntakeError) as caught:
        action()
    assert caught.value.file and caught.value.field and caught.value.remedy
    for word in words:
        assert word in str(caught.value)


class TestPngAndJpeg:
    @pytest.mark.parametrize("largest", [250, 60000])
    def test_grey_of_8_and_16_bits_comes_back_exactly(self, tmp_path: Path, largest: int) -> None:
        kind = np.uint8 if largest < 256 else np.uint16
        values = np.random.default_rng(0).integers(0, largest, SHAPE).astype(kind)
        path = write_png(tmp_path / "a.png", values)
        read = read_picture(path)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values)
        assert picture_shape(path) == (SHAPE, [])

    def test_a_palette_is_followed(self, tmp_path: Path) -> None:
        values = grey() % 4
        image = Image.fromarray(values).convert("P")
        image.putpalette([9, 9, 9, 200, 200, 200, 30, 30, 30, 120, 120, 120])
        image.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.array([9, 200, 30, 120])[values])

    def test_equal_channels_are_one_and_colours_are_refused_or_weighed(self, tmp_path: Path) -> None:
        values = grey()
        same = write_png(tmp_path / "same.png", np.repeat(values[..., None], 3, axis=2))
        np.testing.assert_array_equal(read_picture(same), values)
        colours = np.stack([values, values[::-1], values[:, ::-1]], axis=2)
        path = write_png(tmp_path / "colour.png", colours)
        refused(lambda: read_picture(path), "colour.png", "in colour", "luminance")
        wanted = 0.299 * colours[..., 0] + 0.587 * colours[..., 1] + 0.114 * colours[..., 2]
        np.testing.assert_allclose(read_picture(path, "luminance"), wanted, rtol=1e-6)

    def test_opacity_is_dropped_only_where_nothing_is_transparent(self, tmp_path: Path) -> None:
        values = grey()
        alpha = np.full(SHAPE, 255, np.uint8)
        path = write_png(tmp_path / "opaque.png", np.stack([values, alpha], axis=2))
        np.testing.assert_array_equal(read_picture(path), values)
        alpha[3, 4] = 10
        refused(
            lambda: read_picture(write_png(tmp_path / "glass.png", np.stack([values, alpha], axis=2))), "transparent"
        )
        write_png(tmp_path / "key.png", values, transparency=int(values[0, 0]))
        refused(lambda: read_picture(tmp_path / "key.png"), "transparent")

    def test_colours_of_16_bits_would_be_cut_to_8_and_are_refused(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).integers(0, 65535, (*SHAPE, 3))
        refused(lambda: read_picture(write_raw_png(tmp_path / "a.png", values, 16, 2)), "sixteen bits")
        two = np.random.default_rng(0).integers(0, 65535, (*SHAPE, 2))
        refused(lambda: read_picture(write_raw_png(tmp_path / "b.png", two, 16, 4)), "sixteen bits")

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_photograph_is_turned_upright(self, tmp_path: Path, orientation: int) -> None:
        upright = np.kron(grey(shape=(4, 6)), np.ones((8, 8), np.uint8))
        turned = {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.T,
            6: upright.T[::-1],
            7: upright.T[::-1, ::-1],
            8: upright.T[:, ::-1],
        }[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "a.jpg"
        Image.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif, quality=100, subsampling=0)
        np.testing.assert_allclose(read_picture(path), upright, atol=4)
        shape, notes = picture_shape(path)
        assert shape == upright.shape
        assert bool(notes) == (orientation != 1)

    @pytest.mark.parametrize("name", ["a.png", "a.jpg"])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, name: str) -> None:
        path = write_png(tmp_path / name, grey(shape=(200, 200)))
        content = path.read_bytes()
        for share in (0.02, 0.5, 0.97):
            path.write_bytes(content[: int(share * len(content))])
            refused(lambda: read_picture(path), name)

    def test_a_changed_byte_of_a_png_is_noticed(self, tmp_path: Path) -> None:
        path = write_png(tmp_path / "a.png", grey(shape=(200, 200)))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        refused(lambda: read_picture(path), "damaged")
        # Also before a pixel is decoded.
        refused(lambda: picture_shape(path), "damaged")

    def test_what_is_missing_empty_or_something_else_is_refused(self, tmp_path: Path) -> None:
        refused(lambda: read_picture(tmp_path / "none.png"), "does not exist")
        (tmp_path / "empty.png").write_bytes(b"")
        refused(lambda: read_picture(tmp_path / "empty.png"), "is empty")
        (tmp_path / "text.png").write_text("index,label\n1,2\n" * 50)
        refused(lambda: read_picture(tmp_path / "text.png"), "no PNG or JPEG")
        # A format that Pillow reads, but that nobody asked for.
        Image.fromarray(grey()).save(tmp_path / "real.gif")
        (tmp_path / "real.gif").rename(tmp_path / "gif.png")
        refused(lambda: read_picture(tmp_path / "gif.png"), "no PNG or JPEG")

    @pytest.mark.filterwarnings("ignore:Image size")
    @pytest.mark.parametrize("side", [12_000, 60_000])
    def test_a_decompression_bomb_is_refused_by_its_header(self, tmp_path: Path, side: int) -> None:
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        bomb = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bomb)
        refused(lambda: read_picture(tmp_path / "bomb.png"), "bomb.png")

    def test_an_animation_is_refused(self, tmp_path: Path) -> None:
        frames = [Image.fromarray(grey(number)) for number in range(3)]
        frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
        refused(lambda: read_picture(tmp_path / "a.png"), "several pictures")


class TestMasks:
    @pytest.mark.parametrize("largest", [1, 255])
    def test_two_values_make_a_mask_whatever_they_are(self, tmp_path: Path, largest: int) -> None:
        path = write_png(tmp_path / "a.png", (disc() * largest).astype(np.uint8))
        np.testing.assert_array_equal(read_mask(path), disc())

    @pytest.mark.parametrize("shade", [1, 20, 100, 254])
    def test_no_shade_of_a_lossless_file_is_lost(self, tmp_path: Path, shade: int) -> None:
        values = (disc() * 255).astype(np.uint8)
        values[20, 12] = shade
        refused(lambda: read_mask(write_png(tmp_path / "a.png", values)), "a.png", "1 pixels", "two values per file")
        # Most of the lesion would be gone beside a brighter speck.
        values = (disc() * shade).astype(np.uint8)
        values[20, 12] = 255
        refused(lambda: read_mask(write_png(tmp_path / "b.png", values)), "b.png", f"{disc().sum()} pixels")

    def test_any_colour_counts_and_opacity_does_not(self, tmp_path: Path) -> None:
        values = np.zeros((*SHAPE, 4), np.uint8)
        values[..., 3] = 255
        values[disc(), 1] = 200
        np.testing.assert_array_equal(read_mask(write_png(tmp_path / "a.png", values)), disc())

    def test_an_empty_mask_is_a_mask_and_shades_are_not(self, tmp_path: Path) -> None:
        assert not read_mask(write_mask(tmp_path / "empty.png", np.zeros(SHAPE, bool))).any()
        refused(lambda: read_mask(write_png(tmp_path / "heat.png", grey())), "heat.png", "no mask")

    def test_the_ringing_of_jpeg_is_cut_at_half(self, tmp_path: Path) -> None:
        inside = np.kron(disc(), np.ones((15, 15))) > 0
        path = tmp_path / "a.jpg"
        Image.fromarray((inside * 255).astype(np.uint8)).save(path, quality=95)
        assert (np.asarray(Image.open(path)) > 0).sum() > inside.sum()
        np.testing.assert_array_equal(read_mask(path), inside)


class TestDicom:
    def test_slope_and_intercept_give_real_values_and_pixels_their_size(self, tmp_path: Path) -> None:
        stored = np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16)
        tags = {"RescaleSlope": 0.5, "RescaleIntercept": -1024, "RescaleType": "HU", "PixelSpacing": [0.7, 0.5]}
        path = write_dicom(tmp_path / "no_suffix", stored, **tags)
        assert is_dicom(path)
        header = read_dicom_header(path)
        assert (header.shape, header.spacing) == (SHAPE, (0.7, 0.5))
        assert header.unit == "HU of modality CT"
        np.testing.assert_allclose(read_dicom(path), stored * 0.5 - 1024)

    def test_monochrome1_is_mirrored_within_the_bits_not_within_the_image(self, tmp_path: Path) -> None:
        stored = np.array([[0, 100], [2000, 4095]], np.uint16)
        tags = {
            "PhotometricInterpretation": "MONOCHROME1",
            "BitsStored": 12,
            "HighBit": 11,
            "ImagerPixelSpacing": [1, 1],
        }
        path = write_dicom(tmp_path / "a.dcm", stored, **tags)
        np.testing.assert_allclose(read_dicom(path), 4095 - stored.astype(float))
        notes = dict(read_dicom_header(path).notes)
        assert set(notes) == {"PhotometricInterpretation", "ImagerPixelSpacing"}
        # An image without the darkest and brightest value is mirrored at the same point.
        inner = write_dicom(tmp_path / "b.dcm", np.array([[50, 100], [2000, 3000]], np.uint16), **tags)
        np.testing.assert_allclose(read_dicom(inner), [[4045, 3995], [2095, 1095]])
        signed = np.array([[-2048, -5], [0, 2047]], np.int16)
        path = write_dicom(tmp_path / "c.dcm", signed, **{**tags, "RescaleSlope": 2, "RescaleIntercept": 10})
        np.testing.assert_allclose(read_dicom(path), (2 * -2048 + 10) + (2 * 2047 + 10) - (2.0 * signed + 10))

    def test_the_window_of_the_file_is_used_if_asked_for(self, tmp_path: Path) -> None:
        stored = np.array([[0, 900], [1000, 4000]], np.uint16)
        path = write_dicom(tmp_path / "a.dcm", stored, WindowCenter=1000, WindowWidth=400)
        np.testing.assert_array_equal(read_dicom(path), stored)
        windowed = read_dicom(path, "file")
        # PS3.3 C.11.2.1.2: linear from centre - 0.5 - (width - 1) / 2, over the range of sixteen bits.
        wanted = np.clip((stored - (1000 - 0.5)) / 399 + 0.5, 0, 1) * 65535
        np.testing.assert_allclose(windowed, wanted, rtol=1e-5)

    def test_padding_gets_the_smallest_real_value(self, tmp_path: Path) -> None:
        stored = np.array([[-2000, 5], [7, 30]], np.int16)
        path = write_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=-2000)
        np.testing.assert_array_equal(read_dicom(path), [[5, 5], [7, 30]])
        ranged = write_dicom(tmp_path / "b.dcm", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=5)
        np.testing.assert_array_equal(read_dicom(ranged), [[7, 7], [7, 30]])
        refused(
            lambda: read_dicom(write_dicom(tmp_path / "c.dcm", stored * 0 - 2000, PixelPaddingValue=-2000)), "padding"
        )

    @pytest.mark.parametrize(
        ("tags", "word"),
        [
            ({"NumberOfFrames": 3}, "3 frames"),
            ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "RGB"),
            ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE"),
            ({"BurnedInAnnotation": "YES"}, "burnt into"),
            ({"Rows": 60000, "Columns": 60000}, "60000"),
            ({"PhotometricInterpretation": None}, "incomplete"),
        ],
    )
    def test_what_is_no_grey_image_is_refused_by_its_header(self, tmp_path: Path, tags: dict, word: str) -> None:
        stored = np.zeros((3, *SHAPE) if "NumberOfFrames" in tags else SHAPE, np.uint16)
        path = write_dicom(tmp_path / "a.dcm", stored, **tags)
        refused(lambda: read_dicom_header(path), "a.dcm", word)

    def test_burnt_in_text_can_be_allowed_and_is_noted(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", grey().astype(np.uint16), BurnedInAnnotation="YES")
        assert read_dicom_header(path, allow_burnt_in=True).notes

    def test_truncated_pixels_are_refused(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "a.dcm", grey().astype(np.uint16))
        path.write_bytes(path.read_bytes()[:-100])
        refused(lambda: read_dicom(path), "a.dcm")
        path.write_bytes(path.read_bytes()[:140])
        refused(lambda: read_dicom_header(path), "a.dcm")

    def test_a_compression_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        from pydicom import dcmread
        from pydicom.encaps import encapsulate
        from pydicom.uid import JPEGLSLossless

        path = write_dicom(tmp_path / "a.dcm", grey().astype(np.uint16))
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = JPEGLSLossless
        data.PixelData = encapsulate([b"\xff\xd8 no picture"])
        data["PixelData"].VR = "OB"
        data.save_as(path)
        refused(lambda: read_dicom(path), "a.dcm", "without compression")


def slow_area(values: np.ndarray, size: tuple[int, int], fine: int) -> np.ndarray:
    """Cut every pixel into fine x fine points and average the points that fall into each target pixel."""
    points = np.kron(values, np.ones((fine, fine)))
    rows, columns = (length // n for length, n in zip(points.shape, size, strict=True))
    return points.reshape(size[0], rows, size[1], columns).mean(axis=(1, 3))


class TestFraming:
    @pytest.mark.parametrize("size", [(12, 8), (10, 15), (5, 7), (24, 16)])
    def test_shrinking_is_the_mean_of_the_area_and_growing_a_mask_its_share(self, size: tuple[int, int]) -> None:
        values = grey().astype(float)
        # With so many points per pixel every target's edge falls between points.
        fine = int(np.lcm(size[0], size[1]))
        oracle = slow_area(values, size, fine)
        if all(n <= length for n, length in zip(size, SHAPE, strict=True)):
            np.testing.assert_allclose(Framing(size, "stretch").image(values), oracle, rtol=1e-6)
        share = slow_area(disc().astype(float), size, fine)
        np.testing.assert_array_equal(Framing(size, "stretch").mask(disc()), share >= 0.5 - 1e-9)

    def test_a_grid_of_the_same_size_changes_nothing(self) -> None:
        for fit in ("pad", "stretch", "crop"):
            np.testing.assert_array_equal(Framing(SHAPE, fit).image(grey()), grey())
            np.testing.assert_array_equal(Framing(SHAPE, fit).mask(disc()), disc())

    def test_nothing_finer_than_the_grid_comes_back(self) -> None:
        stripes = np.tile([0.0, 1.0], (64, 64))
        assert np.ptp(Framing((32, 32), "stretch").image(stripes)) < 1e-6
        assert abs(Framing((20, 20), "stretch").image(stripes).mean() - 0.5) < 1e-6

    def test_growing_is_linear_and_stays_within_the_values(self) -> None:
        ramp = np.tile(np.arange(8.0), (4, 1))
        large = Framing((4, 32), "stretch").image(ramp)[0]
        wanted = np.interp((np.arange(32) + 0.5) / 4 - 0.5, np.arange(8), np.arange(8.0))
        np.testing.assert_allclose(large, wanted, atol=1e-6)

    def test_padding_keeps_every_pixel_and_the_aspect_ratio(self) -> None:
        framed = Framing((48, 48), "pad").image(np.kron(grey(), np.ones((2, 2))))
        # Twice as fine, 48 x 32: eight columns of fill on either side.
        np.testing.assert_array_equal(framed[:, 8:40], np.kron(grey(), np.ones((2, 2))))
        assert (framed[:, :8] == grey().min()).all() and (framed[:, 40:] == grey().min()).all()
        mask = Framing((48, 48), "pad").mask(np.ones(SHAPE, bool))
        assert mask[:, 8:40].all() and mask.sum() == 48 * 32

    def test_cropping_cuts_the_same_off_both_sides(self) -> None:
        np.testing.assert_array_equal(Framing((16, 16), "crop").image(grey()), grey()[4:20])

    def test_steps_turn_into_the_size_of_a_pixel(self) -> None:
        assert Framing((12, 8), "stretch").steps(SHAPE) == (2, 2)
        assert Framing((12, 12), "pad").steps(SHAPE) == (2, 2)
        assert Framing((12, 12), "stretch").steps(SHAPE) == (2, 16 / 12)
        assert Framing((8, 8), "crop").steps(SHAPE) == (2, 2)

    def test_labels_go_to_the_one_that_covers_most(self) -> None:
        areas = np.zeros((4, 8), np.int32)
        areas[:, :3], areas[:, 3:5] = 1, 7
        np.testing.assert_array_equal(Framing((2, 4), "stretch").labels(areas)[0], [1, 1, 7, 0])
        assert Framing((2, 4), "stretch").labels(np.zeros((4, 8), int)).dtype == np.int32

    def test_weights_of_every_pixel_add_up_to_one(self) -> None:
        for n_target in (1, 3, 8, 20):
            for area_only in (False, True):
                weights = axis_weights(8, (1.5, 7.0), n_target, area_only=area_only)
                np.testing.assert_allclose(weights.sum(axis=1), 1)
                assert (weights >= 0).all()

    def test_an_unknown_fit_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="pad, stretch, crop"):
            Framing((8, 8), "squeeze")
