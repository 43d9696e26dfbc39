"""The page in a real browser, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from bmopt.bench.report.page import Run, page
from tests.bench.report.documents import full_document, odd_document

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--enable-logging=stderr",
)  # fmt: skip
CONSOLE = re.compile(r"CONSOLE.*")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this host")


def browse(tmp_path: Path, file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *FLAGS, profile, *flags, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_is_refused_and_the_script_runs(tmp_path: Path) -> None:
    file = written(tmp_path, page([Run.of(odd_document(), "odd")]))
    done = browse(tmp_path, file, "--dump-dom")
    assert CONSOLE.findall(done.stderr) == []
    assert '<p class="filter">' in done.stdout, "the script shows the filter"
    assert 'class="filter" hidden' not in done.stdout


@pytest.mark.parametrize(("scheme", "light"), [(0, False), (1, True)], ids=["dark", "light"])
def test_themes_follow_the_reader(tmp_path: Path, scheme: int, light: bool) -> None:
    file = written(tmp_path, page([Run.of(full_document(), "full")]))
    picture = tmp_path / "page.png"
    browse(
        tmp_path, file, f"--screenshot={picture}", "--window-size=1000,1400",
        f"--blink-settings=preferredColorScheme={scheme}",
    )  # fmt: skip
    with Image.open(picture) as shot:
        grey = shot.convert("L")
    assert (grey.getpixel((5, 700)) > 200) is light  # type: ignore[operator]
    assert len(set(grey.tobytes())) > 50, "there is something on the page"


MEASURED = """<!doctype html><iframe src="page.html" style="width:390px;height:800px"></iframe>
<script>onload = () => {
  const inside = document.querySelector("iframe").contentDocument;
  document.title = inside.documentElement.scrollWidth + " of " + inside.body.clientWidth;
}</script>"""


def test_a_phone_does_not_scroll_sideways(tmp_path: Path) -> None:
    text = page([Run.of(full_document(), "a-model-with-" + "quite-" * 12 + "a-name")])
    written(tmp_path, text)
    frame = tmp_path / "frame.html"
    frame.write_text(MEASURED, encoding="utf-8")
    flags = ("--dump-dom", "--allow-file-access-from-files", "--virtual-time-budget=3000")
    done = browse(tmp_path, frame, *flags)
    title = re.search(r"<title>(\d+) of (\d+)", done.stdout)
    assert title is not None
    assert int(title[1]) <= int(title[2])


def test_it_prints(tmp_path: Path) -> None:
    file = written(tmp_path, page([Run.of(full_document(), "full")]))
    sheet = tmp_path / "page.pdf"
    browse(tmp_path, file, f"--print-to-pdf={sheet}")
    assert sheet.read_bytes().startswith(b"%PDF")
    assert sheet.stat().st_size > 20_000
