# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The report: complete in itself, honest, and whole in a real browser."""

from __future__ import annotations

import base64
import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import painted
import pytest

from segformer_ros.evaluation.report import (
    POINTS,
    Line,
    difference,
    gather,
    line_chart,
    nice_ticks,
    percent,
    report_run,
)
from segformer_ros.evaluation.runner import EvaluationRun

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
VOID = {'meta', 'img', 'br', 'link', 'rect', 'line', 'polyline', 'polygon'}


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a baseline and a broken gate."""
    root = tmp_path_factory.mktemp('report')
    job = painted.folder_job(root, 40)
    before = EvaluationRun(dataclasses.replace(job, upsampling='fast'), root / 'before').execute()
    run = EvaluationRun(dataclasses.replace(job, pose=None, hfov=None), root / 'after')
    return report_run(run, run.execute(), before.metrics, ['miou is 0.5, below the gate of 0.6'])


class _Checker(HTMLParser):
    """Keeps the open elements, the text, and everything that an element refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or '' for name, value in attrs if name in ('src', 'href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == 'h2':
            self.titles.append(data)


def test_page_is_well_formed_and_loads_nothing(page: Path) -> None:
    html = page.read_text(encoding='utf-8')
    checker = _Checker()
    checker.feed(html)
    assert not checker.open
    assert checker.titles == [
        'Summary', 'Broken gates', 'Classes', 'Worst frames', 'Over time', 'Confusion',
        'Drivable area', 'Calibration', 'Latency', 'Environment',
    ]  # fmt: skip
    assert len(checker.addresses) >= 8
    assert all(address.startswith('data:image/jpeg;base64,') for address in checker.addresses)
    assert not re.search(r'https?://|@import|url\(', html)


def test_pictures_tell_the_truth(page: Path) -> None:
    html = page.read_text(encoding='utf-8')
    frame = int(re.search(r'<h3>images/frame(\d+): ', html)[1])  # type: ignore[index]
    addresses = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)[:4]
    image, truth, _, errors = (
        np.asarray(
            cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        ).astype(int)
        for data in addresses
    )
    labels, mask = painted.truth(frame), painted.predicted(frame + 1)[frame]
    assert np.abs(image - painted.paint(painted.mask(frame))).mean() < 8
    assert np.abs(truth - painted.paint(labels)).mean() < 8
    wrong = (labels != mask) & (labels != 255)
    redness = errors[..., 2] - errors[..., 0]
    assert redness[wrong].mean() > 60 > 20 > redness[~wrong].mean()
    share = re.search(r': ([\d.]+) % of the pixels wrong', html)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * wrong.sum() / (labels != 255).sum(), abs=0.06)


@pytest.mark.skipif(BROWSER is None, reason='no Chromium on this machine')
@pytest.mark.slow
@pytest.mark.parametrize('width', [1280, 390])
def test_in_a_real_browser(page: Path, tmp_path: Path, width: int) -> None:
    # The page measures itself and leaves the result in its title.
    script = (
        '<script>addEventListener("load", () => {'
        'const sizes = [innerWidth, document.documentElement.scrollWidth];'
        'const broken = [...document.images].filter((i) => i.src && !i.naturalWidth).length;'
        'const button = document.querySelectorAll("figure button")[1]; button.click();'
        'const shown = document.querySelector("dialog img");'
        'const opened = shown.src === button.querySelector("img").src && larger.open;'
        'shown.click();'
        'document.title = [...sizes, broken, opened, larger.open].join(" "); })'
        '</script></body>'
    )
    probe = tmp_path / 'probe.html'
    html = page.read_text(encoding='utf-8').replace('loading="lazy"', '')
    probe.write_text(html.replace('</body>', script), encoding='utf-8')
    # Headless windows are at least 500 pixels wide, so the phone's width is a frame's.
    frame = tmp_path / 'frame.html'
    frame.write_text(
        f'<iframe id="page" src="probe.html" style="width:{width}px;height:900px"></iframe>'
        '<script>addEventListener("load", () => { setTimeout(() => { document.body.textContent ='
        ' document.querySelector("iframe")?.contentDocument.title ?? "none"; }, 500); })</script>'
    )
    done = subprocess.run(
        [str(BROWSER), '--headless=new', '--no-sandbox', '--disable-gpu',
         '--allow-file-access-from-files', f'--user-data-dir={tmp_path / "profile"}',
         '--virtual-time-budget=5000', '--dump-dom', frame.as_uri()],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    found = re.search(r'<body>(\d+) (\d+) (\d+) (\w+) (\w+)</body>', done.stdout)
    assert found is not None, done.stdout[-500:]
    inner, content, broken_images = map(int, found.groups()[:3])
    assert inner == width
    assert content <= width
    assert broken_images == 0
    assert found.groups()[3:] == ('true', 'false')  # a click opens the picture, another closes it


def test_names_of_recordings_are_escaped(tmp_path: Path) -> None:
    """Nothing of a recording's name becomes a part of the page."""
    job = painted.folder_job(tmp_path, 3)
    hostile = (tmp_path / 'images').rename(tmp_path / '<script>alert(1)<')
    with EvaluationRun(dataclasses.replace(job, inputs=(str(hostile),)), tmp_path / 'out') as run:
        html = report_run(run, run.execute()).read_text(encoding='utf-8')
    assert '<script>alert' not in html
    assert '<h1>fake on &lt;script&gt;alert(1)&lt;</h1>' in html


def test_changes_name_their_direction() -> None:
    assert difference(0.52, 0.5) == ('better', '▲ +2.0')
    assert difference(0.5, 0.52) == ('worse', '▼ −2.0')
    assert difference(0.52, 0.5, lower_is_better=True) == ('worse', '▲ +2.0')
    assert difference(0.5, 0.5) == ('same', '±0.0')
    assert difference(0.5, None) is difference(float('nan'), 0.5) is None
    assert percent(None) == percent(float('nan')) == '–'


def test_long_runs_are_gathered_with_their_extremes() -> None:
    values = np.full(5000, 0.5)
    values[1234], values[2000:2100] = 0.0, np.nan
    gathered = gather(values)
    assert len(gathered.mean) == POINTS
    assert np.nanmin(gathered.low) == 0.0
    assert np.isnan(gathered.mean).sum() >= 3
    chart = line_chart([Line('a', 'one', values)], 1.0, [], [], 'scores')
    (line,) = chart.lines
    assert len(line.runs) == 2  # what is not known is a gap
    assert '1000.0' in line.band  # the least value is not lost


@pytest.mark.parametrize('top', [0.7, 1.0, 3.0, 48.0, 999.0, 12345.0])
def test_ticks_are_few_and_round(top: float) -> None:
    ticks = nice_ticks(top)
    assert 3 <= len(ticks) <= 6
    assert ticks[0].label == '0'
    assert ticks[-1].place <= 1.001
