"""The page of `dvc plots show` in a real browser, headless."""

import shutil
from pathlib import Path

import pytest
from clones import run
from playwright.sync_api import sync_playwright
from slice import PICTURES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
def test_the_plots_are_drawn_without_the_internet(repository: Path) -> None:
    run(repository, "python", "-m", "kiban.track.plots_page", "page.html")
    run(repository, "dvc", "plots", "show")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        address = (repository / "dvc_plots/index.html").as_uri()
        page.goto(address)
        page.wait_for_function(f"document.querySelectorAll('.vega-embed svg.marks').length == {len(PICTURES)}")
        browser.close()
    assert asked == [address]
