from __future__ import annotations

import re

import pytest

from figures import simulated_study
from heatproof.figures.doses import draw_dose_frames
from heatproof.figures.style import save
from publication.browser import Browser, installed
from publication.synthetic_report import make_report

SLIDER = 'document.getElementById("study-1-dose")'
SHOWN = 'document.querySelector(".slider output").textContent'
# Where the window over the strip begins, in frames.
FRAME = """(() => {
  const [window, strip] = [".window", ".window img"].map((s) => document.querySelector(s).getBoundingClientRect());
  return (window.left - strip.left) / (strip.width / 5);
})()"""

needs_browser = pytest.mark.skipif(
    installed() is None, reason="no Chromium on this machine: the slider is not moved in a browser"
)


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """A report with the frames of two blobs: its file and its text."""
    study, tables, _ = finished
    folder = tmp_path_factory.mktemp("slider")
    files = [folder / "dose_frames.svg", folder / "dose_frames.png"]
    scans = simulated_study.scans(folder, 2)
    save(draw_dose_frames(scans, simulated_study.grid_of(2)), files)
    html = make_report(study, tables, files)
    (folder / "report.html").write_text(html, encoding="utf-8")
    return folder / "report.html", html


def test_the_report_knows_how_many_frames_there_are_and_takes_their_pixels(page, finished):
    html = page[1]
    assert 'data-frames="0 0.25 0.5 0.75 1"' in html
    assert re.search(r'<input type="range" id="study-1-dose" min="0" max="4" step="1" value="4">', html)
    assert '<label for="study-1-dose">Dose</label>' in html
    assert 'img src="data:image/png;base64,' in html.split('class="window">')[1][:200]
    assert "data-frames=" not in finished[2], "other figures have no slider"


@needs_browser
def test_arrow_keys_move_the_slider_from_frame_to_frame(page, tmp_path):
    with Browser(tmp_path / "profile", tmp_path) as browser:
        browser.open(page[0])
        assert browser.value(f"{SLIDER}.offsetParent !== null")
        assert (browser.value(SHOWN), round(browser.value(FRAME), 3)) == ("1", 4)
        browser.value(f"{SLIDER}.focus()")
        browser.press("ArrowLeft")
        assert (browser.value(SHOWN), round(browser.value(FRAME), 3)) == ("0.75", 3)
        for _ in range(9):
            browser.press("ArrowLeft")
        assert (browser.value(SHOWN), round(browser.value(FRAME), 3)) == ("none: the scan as it is", 0)
        browser.press("ArrowRight")
        assert browser.value(f'{SLIDER}.getAttribute("aria-valuetext")') == "0.25"
        # One frame is seen, whole, and nothing of its neighbours.
        seen, whole = browser.value(
            '[document.querySelector(".window").clientWidth, document.querySelector(".window img").naturalWidth / 5]'
        )
        assert seen == pytest.approx(whole, abs=1)
        assert browser.value('getComputedStyle(document.querySelector(".window")).overflow') == "hidden"
        browser.value('document.querySelector(".frames").scrollIntoView()')
        browser.screenshot(tmp_path / "slider.png")
        assert browser.complaints() == []
        assert [url for url in browser.requests() if not url.startswith("file:")] == []


@needs_browser
def test_without_the_script_the_strip_can_be_scrolled_and_there_is_no_dead_slider(page, tmp_path):
    with Browser(tmp_path / "profile", tmp_path) as browser:
        browser.send("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(page[0])
        assert browser.value(f"{SLIDER}.offsetParent === null")
        plate = 'document.querySelector(".frames .plate")'
        assert browser.value(f"{plate}.scrollWidth > 2 * {plate}.clientWidth")
        assert browser.value(f"getComputedStyle({plate}).overflowX") == "auto"
        assert browser.value(f"{plate}.tabIndex") == 0
        assert browser.value("document.documentElement.scrollWidth <= innerWidth"), "only the strip scrolls sideways"
