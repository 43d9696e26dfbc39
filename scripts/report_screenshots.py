"""Photograph a report in headless Chromium: light, dark and on a phone.

    python scripts/report_screenshots.py report.html docs

writes ``report-light.png``, ``report-dark.png`` and, with ``--phone``, ``report-phone.png``.
Needs the program ``chromium`` and, to make the pictures small, Pillow.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--force-device-scale-factor=1",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"


def photograph(page: Path, picture: Path, width: int, height: int, scheme: str) -> None:
    """Write a picture of the top of ``page``, with as few colours as it takes."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.png"
        subprocess.run(
            [
                program, *QUIET, scheme, f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}", f"--screenshot={raw}",
                page.resolve().as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        with Image.open(raw) as shot:
            shot.convert("RGB").quantize(128).save(picture, optimize=True)


def main() -> None:
    """Photograph the page that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--height", type=int, default=1500)
    parser.add_argument("--phone", action="store_true", help="390 pixels wide, too")
    arguments = parser.parse_args()
    for name, scheme in (("light", LIGHT), ("dark", DARK)):
        picture = arguments.folder / f"report-{name}.png"
        photograph(arguments.page, picture, 1000, arguments.height, scheme)
    if arguments.phone:
        # Windows narrower than 500 pixels are not to be had: a frame of that width is.
        with tempfile.TemporaryDirectory() as folder:
            frame = Path(folder) / "phone.html"
            inside = f'<iframe src="{arguments.page.resolve().as_uri()}" style="border:0;'
            size = f'width:390px;height:{arguments.height}px"></iframe>'
            frame.write_text(f"<body style=margin:0>{inside}{size}", encoding="utf-8")
            picture = arguments.folder / "report-phone.png"
            photograph(frame, picture, 500, arguments.height, LIGHT)


if __name__ == "__main__":
    main()
