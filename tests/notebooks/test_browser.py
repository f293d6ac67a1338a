"""JupyterLab in a real browser opens the quickstart, runs it, and pictures of it are kept."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "artifacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
sys.path.insert(0, str(Path(__file__).parent))

from lab import Lab  # noqa: E402 - this folder is no package


@pytest.fixture
def page(tmp_path: Path, require: Callable[[object, str], None]) -> Iterator[Any]:
    """A page of headless Chromium with a profile of its own."""
    require(CHROMIUM, "chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        yield context.pages[0]
        context.close()


@pytest.fixture
def lab(folder: Path, tmp_path: Path) -> Iterator[Lab]:
    with Lab(folder, tmp_path) as running:
        yield running


@pytest.mark.kernel
@pytest.mark.browser
@pytest.mark.slow
def test_the_quickstart_in_jupyterlab(page: Any, lab: Lab) -> None:
    _open(page, lab)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    _wait_until_done(page)
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)

    assert _errors(page) == 1, "only the cell that fails on purpose may fail"
    chart = page.locator("svg[role=img]")
    assert chart.count() == 1 and "Layers of hello" in (chart.locator("title").first.text_content())
    assert page.get_by_text("4 from cache").count() == 1
    _picture(page, "quickstart-light")
    _picture(page, "quickstart-narrow", width=480)

    light = _colour(page)
    lab.setting("apputils-extension/themes", {"theme": "JupyterLab Dark"})
    _open(page, lab)
    dark = _colour(page)
    assert sum(light) < 200 < 500 < sum(dark), "text follows the theme"
    _picture(page, "quickstart-dark")


def _open(page: Any, lab: Lab) -> None:
    page.set_viewport_size({"width": 1280, "height": 6000})
    page.goto(f"{lab.url}/lab/tree/00-quickstart.ipynb?reset")
    page.locator(".jp-Notebook").wait_for(timeout=180_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=180_000)
    # The file browser takes a quarter of the width and says nothing here.
    if page.locator(".jp-DirListing").first.is_visible():
        page.keyboard.press("Control+b")
    page.wait_for_timeout(500)


def _wait_until_done(page: Any) -> None:
    """Every code cell has a number in its prompt: none waits, and none was given up."""
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
                .map(prompt => prompt.textContent.trim());
            return prompts.length > 10 && prompts.every(text => /\\d/.test(text));
        }""",
        timeout=240_000,
    )


def _errors(page: Any) -> int:
    return int(page.get_by_text("BuildFailed").count())


def _colour(page: Any) -> list[int]:
    """Red, green and blue of the text of the first table."""
    found = page.evaluate("getComputedStyle(document.querySelector('.wb table')).color")
    return [round(float(part.strip(" )"))) for part in found.partition("(")[2].split(",")[:3]]


def _picture(page: Any, name: str, *, width: int = 1280) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    page.set_viewport_size({"width": width, "height": 9000})
    page.wait_for_timeout(800)
    # Down to the last cell: nothing is cut off, and nothing empty follows.
    end = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.jp-Cell')]"
        ".map(cell => cell.getBoundingClientRect().bottom))"
    )
    page.set_viewport_size({"width": width, "height": round(end) + 60})
    page.wait_for_timeout(800)
    page.screenshot(path=str(ARTIFACTS / f"{name}.png"))
