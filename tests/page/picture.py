"""Takes the picture of the page that the README shows, of the report of any upload.

python -m tests.page.picture report.html docs/images/page.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.page.conftest import FLAGS, chromium

SIZE = {"width": 1200, "height": 1130}
COLOURS = 240
"""So many are enough for flat colours, and keep the file small."""


def take(report: Path, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{report.absolute().as_uri()}#sort=-confidence")
        page.wait_for_selector(".scroller tbody tr")
        screenshot = page.screenshot()
        browser.close()
    with Image.open(io.BytesIO(screenshot)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
