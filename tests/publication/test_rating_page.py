"""The rating page in a real browser: a rater with a keyboard closes it, comes back, and saves what the study reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from heatproof.attribution import METHODS as REGISTRY
from heatproof.errors import HeatproofError
from heatproof.figures.rating import png_of
from heatproof.figures.style import drawing, label
from heatproof.publication.rating_answers import CANNOT_JUDGE, read_answers
from heatproof.publication.rating_page import PIXEL_CHUNKS, RatingItem, png_chunks, render_rating_page
from heatproof.publication.rating_plan import KEY_COLUMNS, key_table, panel_name, plan_items
from heatproof.stages.rating_kit import draw_kit
from heatproof.stages.runs import read_text_table
from heatproof.statistics.expert_ratings import rater_agreement
from publication.browser import Browser, installed
from rated_study import METHODS, kit_job, write_study

SCALE = ("not at all", "slightly", "partly", "mostly", "exactly")
needs_browser = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")


def small(image: np.ndarray, heatmap: np.ndarray | None, *unused: object, **options: object) -> Any:
    """Draw a stamp, because a browser does not mind what is on a picture."""
    with drawing() as make:
        figure = make(figsize=(0.5, 0.3))
        figure.add_subplot().imshow(np.abs(image if heatmap is None else heatmap), aspect="auto")
    return figure


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A kit of two models, two scans each, nine methods, one repeat."""
    files = write_study(tmp_path_factory.mktemp("study"), (60,))
    draw_kit(kit_job(n_scans=2, n_repeats=1), **files, draw=small)
    return files


@pytest.fixture(scope="module")
def page(kit: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a rater gets it: alone, in a folder with a space."""
    alone = tmp_path_factory.mktemp("from the study") / "rating.html"
    alone.write_bytes(kit["page"].read_bytes())
    return alone


class TestBlinding:
    def test_nothing_in_the_page_names_a_method(self, page: Path) -> None:
        source = page.read_text(encoding="utf-8")
        words = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", source).lower()
        assert len(words) < 60_000
        for name in {*REGISTRY, *METHODS}:
            for form in (name, label(name).lower(), name.replace("_", "-")):
                assert not re.search(rf"\b{re.escape(form)}\b", words), form
        for hidden in ("scan0", "person0", "fold-0", "maps.h5", str(page.parent), "amplitude/", "interval/"):
            assert hidden not in words

    def test_pictures_hold_pixels_and_nothing_else(self, page: Path) -> None:
        import base64

        found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page.read_text(encoding="utf-8"))
        assert len(found) == 5 * (1 + len(METHODS))
        for each in found:
            png = base64.b64decode(each)
            assert set(png_chunks(png)) <= PIXEL_CHUNKS
            for name in METHODS:
                assert name.encode() not in png

    def test_a_picture_that_says_more_is_refused(self) -> None:
        from io import BytesIO

        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        told, written = PngInfo(), BytesIO()
        told.add_text("Title", "saliency")
        Image.new("L", (2, 2)).save(written, format="PNG", pnginfo=told)
        with pytest.raises(HeatproofError, match="tEXt"):
            render_rating_page("kit-0", [RatingItem(1, "measure", written.getvalue(), [])], SCALE)

    def test_the_order_of_methods_differs_from_scan_to_scan_and_favours_none(self) -> None:
        scans = {"pr": [f"s{number}" for number in range(400)]}
        items = plan_items(scans, {"pr": METHODS}, 0, seed=1)
        assert len({item.methods for item in items}) > 390
        first = pd.Series([item.methods[0] for item in items]).value_counts()
        # Nine methods, 400 scans: 44 each; four standard deviations to either side.
        assert first.between(44 - 26, 44 + 26).all()
        # The page's order of scans is not that of the scans.
        assert [item.scan_id for item in items] != scans["pr"]

    def test_a_repeated_scan_comes_later_in_another_order(self) -> None:
        scans = {"pr": list("abcdef"), "qt": list("abcdef")}
        for seed in range(20):
            items = plan_items(scans, {"pr": METHODS, "qt": METHODS}, 3, seed=seed)
            assert [item.number for item in items] == list(range(1, 16))
            again = [item for item in items if item.repeats]
            assert len(again) == 3
            for item in again:
                before = items[item.repeats - 1]
                assert (before.model, before.scan_id) == (item.model, item.scan_id)
                assert item.number - before.number > 1
                assert item.methods != before.methods
                assert sorted(item.methods) == sorted(before.methods)

    def test_panels_are_lettered(self) -> None:
        assert [panel_name(place) for place in (0, 8, 25, 26, 27, 701, 702)] == ["A", "I", "Z", "AA", "AB", "ZZ", "AAA"]


@pytest.fixture
def profile(tmp_path: Path) -> tuple[Path, Path]:
    """A browser's profile and its downloads, which outlive its windows."""
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    return tmp_path / "profile", downloads


@pytest.fixture
def browser(profile: tuple[Path, Path], page: Path) -> Iterator[Browser]:
    with Browser(*profile) as opened:
        opened.open(page)
        yield opened


def begin(browser: Browser, rater: str) -> None:
    browser.value("document.getElementById('rater').focus()")
    browser.type(rater)
    browser.press("Enter")


def saved(browser: Browser, downloads: Path) -> Path:
    """Save the answers and wait for the file."""
    browser.value("document.getElementById('save').hidden || document.getElementById('save').click()")
    browser.wait(lambda: list(downloads.glob("*.csv")))
    return next(iter(downloads.glob("*.csv")))


def words_of(browser: Browser, name: str) -> str:
    return browser.value(f"document.getElementById('{name}').textContent")


def active(browser: Browser) -> str:
    return browser.value("document.querySelector('.panel.active')?.dataset.panel ?? ''")


@needs_browser
class TestRating:
    def test_a_rater_with_a_keyboard_closes_comes_back_finishes_and_is_read(
        self, kit: dict[str, Path], page: Path, profile: tuple[Path, Path]
    ) -> None:
        key = read_text_table(kit["key"])
        random = np.random.default_rng(4)
        wanted = {(int(row.item), row.panel): int(random.integers(1, 6)) for row in key.itertuples()}
        wanted[2, "C"] = 0
        per_page = len(METHODS)
        half = len(key) // per_page // 2
        with Browser(*profile) as browser:
            browser.open(page)
            begin(browser, "Ada")
            for (item, _), rating in wanted.items():
                if item > half:
                    break
                browser.press(str(rating))
                if words_of(browser, "count").startswith(f"{item * per_page} "):
                    # The last heatmap of a page leads to the button that turns it.
                    browser.press("Enter")
            complaints, requests = browser.complaints(), browser.requests()
        with Browser(*profile) as browser:
            browser.open(page)
            # The page that was open, nothing lost.
            assert words_of(browser, "place") == f"Page {half + 1} of {len(key) // per_page}"
            assert words_of(browser, "count") == f"{half * per_page} of {len(key)} rated"
            for (item, _), rating in wanted.items():
                if item > half:
                    browser.press(str(rating))
                    if words_of(browser, "count").startswith(f"{item * per_page} "):
                        browser.press("Enter")
            assert "Thank you" in words_of(browser, "summary")
            file = saved(browser, profile[1])
            complaints += browser.complaints()
            requests += browser.requests()
        assert complaints == []
        assert set(requests) == {page.resolve().as_uri()}
        assert file.name == f"{key['kit_id'][0]}_Ada.csv"
        found = read_answers([file], key)
        given = {(row.item, row.panel): int(row.rating) if row.judged else 0 for row in found.itertuples()}
        assert given == wanted
        assert found["method"].tolist() == key.sort_values(["item", "panel"])["method"].tolist()
        # The repeated scans were rated anew; a second rater whose ratings are known agrees as scikit-learn says.
        other = found.assign(rater="Ben", rating=random.integers(1, 6, len(found)).astype(float), judged=True)
        table = rater_agreement(pd.concat([found, other], ignore_index=True), seed=1, n_bootstrap=20)
        once = (found["repeats"] == 0) & found["judged"]
        pair = table[(table["statistic"] == "weighted_kappa") & (table["model"] == "(all)")].iloc[0]
        assert pair["value"] == pytest.approx(
            cohen_kappa_score(found["rating"][once], other["rating"][once], labels=range(1, 6), weights="quadratic")
        )
        assert pair["n_heatmaps"] == once.sum()

    def test_keys_move_rate_enlarge_and_leave_comments_alone(self, browser: Browser) -> None:
        begin(browser, "Ada")
        assert active(browser) == "A"
        browser.press("4")
        assert active(browser) == "B"
        browser.press("ArrowDown")
        assert active(browser) == "E"
        browser.press("ArrowRight")
        browser.press("ArrowUp")
        assert active(browser) == "C"
        browser.press("ArrowRight")
        assert active(browser) == "D"
        browser.press("Tab")
        assert browser.value("document.activeElement.className") == "comment"
        browser.type("3 of these, see lead II")
        browser.press("5")
        assert words_of(browser, "count").startswith("1 of")
        browser.press("Tab")
        assert active(browser) == "E"
        browser.press("z")
        assert browser.value("document.getElementById('large').open")
        browser.press("2")
        assert not browser.value("document.getElementById('large').open")
        assert words_of(browser, "said").startswith("Heatmap E: 2, slightly. 2 of 9")
        browser.press("0")
        assert "cannot judge" in words_of(browser, "said")
        # Off the scale: nothing happens.
        browser.press("7")
        assert words_of(browser, "count").startswith("3 of")
        browser.press("n")
        assert words_of(browser, "place").startswith("Page 2")
        browser.press("p")
        assert browser.value("document.querySelector('[data-panel=D] .comment').value") == "3 of these, see lead II5"
        # Focus can be seen, and every control has a name for a screen reader.
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
        controls = [
            node for node in nodes if node.get("role", {}).get("value") in ("radio", "textbox", "button", "image")
        ]
        assert len(controls) > 9 * 7
        assert all(node["name"].get("value") for node in controls if not node["ignored"])
        names = {node["name"]["value"] for node in controls if not node["ignored"]}
        assert {"Comment on heatmap A, optional", "1 not at all", "Enlarge heatmap C"} <= names

    def test_the_mouse_rates_and_time_is_counted_on_the_framed_heatmap(
        self, browser: Browser, kit: dict[str, Path], profile: tuple[Path, Path]
    ) -> None:
        import time

        begin(browser, "Eve")
        time.sleep(0.4)
        browser.value("document.querySelectorAll('[data-panel=A] input')[2].click()")
        browser.press("ArrowRight")
        browser.press("1")
        found = read_answers([saved(browser, profile[1])], read_text_table(kit["key"]))
        assert found["rating"].tolist() == [3, 1]
        assert found["seconds"][0] >= 0.4
        assert found["seconds"][1] < found["seconds"][0]

    def test_saved_answers_are_taken_up_elsewhere_and_foreign_ones_are_refused(
        self, browser: Browser, kit: dict[str, Path], tmp_path: Path, profile: tuple[Path, Path]
    ) -> None:
        kit_id = read_text_table(kit["key"])["kit_id"][0]
        hostile = 'a "quoted", <b>bold</b>; line\nbreak'
        rows = pd.DataFrame(
            {"kit_id": kit_id, "rater": "Zoë, M.D.", "item": [1, 1], "panel": ["A", "B"], "rating": ["2", CANNOT_JUDGE],
             "seconds": [3.0, 4.5], "comment": [hostile, ""]}
        )  # fmt: skip
        rows.to_csv(tmp_path / "before.csv", index=False)
        browser.choose_file("#load", tmp_path / "before.csv")
        browser.wait(lambda: words_of(browser, "loaded"))
        assert words_of(browser, "loaded").startswith("Read 2 ratings of 45 by Zoë, M.D.")
        browser.press("Tab")
        browser.value("document.getElementById('go').click()")
        assert active(browser) == "C"
        found = read_answers([saved(browser, profile[1])], read_text_table(kit["key"]))
        assert found["rater"].tolist() == ["Zoë, M.D."] * 2
        assert found["comment"][0] == hostile
        assert found["judged"].tolist() == [True, False]
        browser.value("document.getElementById('help').click()")
        for change, words in (({"kit_id": "kit-other"}, "another page"), ({"rating": "9"}, "no answer of this page"),
                              ({"panel": "Q"}, "no answer of this page")):  # fmt: skip
            rows.assign(**change).to_csv(tmp_path / "wrong.csv", index=False)
            browser.choose_file("#load", tmp_path / "wrong.csv")
            browser.wait(lambda expected=words: expected in words_of(browser, "loaded"))
        assert words_of(browser, "count").startswith("2 of")
        assert browser.complaints() == []

    def test_raters_who_share_a_browser_do_not_share_answers(self, browser: Browser) -> None:
        begin(browser, "Ada")
        browser.press("5")
        browser.value("document.getElementById('help').click()")
        browser.value("document.getElementById('rater').value = ''")
        begin(browser, "Ben")
        assert words_of(browser, "count").startswith("0 of")
        browser.value("document.getElementById('help').click()")
        browser.value("document.getElementById('rater').value = ''")
        begin(browser, "Ada")
        assert words_of(browser, "count").startswith("1 of")

    def test_it_can_be_read_in_the_dark_on_a_phone_and_on_paper(self, browser: Browser) -> None:
        begin(browser, "Ada")

        def colours() -> list[str]:
            style = browser.value(
                "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
            )
            return list(style)

        light = colours()
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        dark = colours()
        for ink, paper in (light, dark):
            assert contrast(ink, paper) > 7
        assert dark != light
        browser.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        assert browser.value("document.documentElement.scrollWidth") <= 390
        browser.send("Emulation.clearDeviceMetricsOverride")
        browser.send("Emulation.setEmulatedMedia", media="print")
        assert browser.value("getComputedStyle(document.querySelector('.turn')).display") == "none"
        assert contrast(*colours()) > 15


def contrast(one: str, two: str) -> float:
    """Contrast ratio of two CSS colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        shares = np.array([int(part) / 255 for part in re.findall(r"\d+", colour)[:3]])
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    bright, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


class TestReadingAnswers:
    @pytest.fixture
    def key(self) -> pd.DataFrame:
        items = plan_items({"pr": ["s1", "s2"]}, {"pr": ("m1", "m2")}, 0, seed=0)
        return key_table(items, {"s1": "p1", "s2": "p2"}, "kit-1", 5, 0, 1)

    HEADER = "kit_id,rater,item,panel,rating,seconds,comment\n"

    def test_rows_become_methods_and_numbers(self, key: pd.DataFrame, tmp_path: Path) -> None:
        text = f'{self.HEADER}kit-1,Ada,2,B,4,1.5,"well, two\nlines"\nkit-1,Ada,1,A,cannot judge,0.5,\n'
        (tmp_path / "ada.csv").write_text(text, encoding="utf-8")
        found = read_answers([tmp_path / "ada.csv"], key)
        assert set(KEY_COLUMNS) <= set(found)
        assert found["item"].tolist() == [1, 2]
        assert np.isnan(found["rating"][0])
        assert not found["judged"][0]
        assert found["comment"][1] == "well, two\nlines"
        own = key[(key["item"] == 2) & (key["panel"] == "B")].iloc[0]
        assert found.loc[1, ["method", "scan_id", "participant_id"]].tolist() == [
            own["method"], own["scan_id"], own["participant_id"],
        ]  # fmt: skip

    def test_what_a_spreadsheet_saved_is_read(self, key: pd.DataFrame, tmp_path: Path) -> None:
        text = "\ufeff" + self.HEADER.replace(",", ";") + "kit-1;Ada;2;B;4;1.5;\r\n"
        (tmp_path / "ada.csv").write_bytes(text.encode())
        assert read_answers([tmp_path / "ada.csv"], key)["rating"].tolist() == [4]

    @pytest.mark.parametrize(
        ("rows", "field", "words"),
        [
            ("kit-2,Ada,1,A,4,1,", "line 2, kit_id", "that of 'kit-1'"),
            ("kit-1,Ada,3,A,4,1,", "line 2, panel", "no panel 'A' of item '3'"),
            ("kit-1,Ada,1,C,4,1,", "line 2, panel", "no panel 'C'"),
            ("kit-1,Ada,one,A,4,1,", "line 2, panel", "item 'one'"),
            ("kit-1,Ada,1,A,4,1,\nkit-1,Ada,1,B,6,1,", "line 3, rating", "from 1 to 5"),
            ("kit-1,Ada,1,A,0,1,", "line 2, rating", "'0' is no rating"),
            ("kit-1,Ada,1,A,3.5,1,", "line 2, rating", "'3.5' is no rating"),
            ("kit-1,Ada,1,A,,1,", "line 2, rating", "cannot judge"),
            ("kit-1, ,1,A,4,1,", "line 2, rater", "nobody"),
            ("kit-1,Ada,1,A,4,long,", "line 2, seconds", "no number"),
            ("kit-1,Ada,1,A,4", "line 2", "fields"),
            ("kit-1,Ada,1,A,4,1,\nkit-1,Ada,1,A,4,1,", "line 3, panel", "twice, the first time in ada.csv, line 2"),
        ],
    )
    def test_a_wrong_row_is_refused_with_file_row_and_remedy(
        self, key: pd.DataFrame, tmp_path: Path, rows: str, field: str, words: str
    ) -> None:
        (tmp_path / "ada.csv").write_text(f"{self.HEADER}{rows}\n", encoding="utf-8")
        with pytest.raises(HeatproofError) as caught:
            read_answers([tmp_path / "ada.csv"], key)
        assert caught.value.file == str(tmp_path / "ada.csv")
        assert caught.value.field == field
        assert words in str(caught.value)
        assert caught.value.remedy

    def test_a_rater_who_saved_twice_is_counted_once(self, key: pd.DataFrame, tmp_path: Path) -> None:
        for name in ("early.csv", "late.csv"):
            (tmp_path / name).write_text(f"{self.HEADER}kit-1,Ada,1,A,4,1,\n", encoding="utf-8")
        with pytest.raises(HeatproofError, match=r"late\.csv: line 2.*in early\.csv, line 2.*saved last"):
            read_answers(list(tmp_path.glob("*.csv")), key)

    @pytest.mark.parametrize("text", ["", "item,panel\n1,A\n", HEADER])
    def test_a_file_without_answers_is_refused(self, key: pd.DataFrame, tmp_path: Path, text: str) -> None:
        (tmp_path / "ada.csv").write_text(text, encoding="utf-8")
        with pytest.raises(HeatproofError, match="Remedy"):
            read_answers([tmp_path / "ada.csv"], key)

    def test_bytes_that_are_no_text_are_refused(self, key: pd.DataFrame, tmp_path: Path) -> None:
        (tmp_path / "ada.csv").write_bytes(b"\xff\xfe\x00broken")
        with pytest.raises(HeatproofError, match="not UTF-8"):
            read_answers([tmp_path / "ada.csv"], key)


def test_the_same_figure_has_the_same_bytes() -> None:
    image = np.arange(12.0).reshape(3, 4)
    assert png_of(small(image, None)) == png_of(small(image, None))
