# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the running node does: highest rates, ages, CPU, copies, many cameras, and growth.

    ./run bench --node rates          5 minutes
    ./run bench --node cameras        one node for four cameras beside four nodes: 2 minutes
    ./run bench --node start               ten starts to the first mask: 1 minute
    ./run bench --node growth --plot growth.png       by size, cameras, classes, columns: 4 minutes

Camera, node and watcher are processes of their own. `rates` finds, as Isaac ROS benchmarks do, the
highest rate of the camera at which less than 5 % of the frames are left without a mask, and takes
ages, CPU and copies at 30 Hz. `--beside FOLDER` starts the node of another checkout, in turns, in
this one's environment. On a busy machine, put `chrt -r 5` before the command.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from segformer_ros.text_table import markdown_table
from tools.benchmarks.live_node import ROOT, LiveNode, Setting, Step

SIZES = {'360p': (360, 640), '720p': (720, 1280), '1080p': (1080, 1920)}
SIZES.update({'1440p': (1440, 2560), '4K': (2160, 3840)})
FAKE = {'engine': 'fake', 'upsampling': 'fast'}
"""Labels of one class for each of its cells: what is measured is the node."""
ENGINES: dict[str, Mapping[str, Any]] = {
    'bundled': {},
    'fake, no delay': FAKE,
    'fake, 5 ms': {**FAKE, 'fake_delay': 0.005},
    'fake, 20 ms': {**FAKE, 'fake_delay': 0.02},
}
MOST_LOST = 0.05
FASTEST = 100.0
"""Hz: what the camera, a Python process too, is asked for at most."""
SEARCH_STEPS = 4
STARTS = 10
COLUMNS = ('masks', 'p50', 'p99', 'cpu_ms', 'rss', 'pss')
"""Of the table of many cameras: fields of Step."""


def highest_rate(node: LiveNode, seconds: float = 1.5) -> str:
    """Rate of the camera in Hz up to which less than 5 % of the frames are lost, within 3 %."""
    most = node.step(FASTEST, seconds)
    if most.lost < MOST_LOST:
        return f'>= {most.rate:.0f}'
    low, high = 0.5 * most.masks, 1.05 * most.masks
    for _ in range(SEARCH_STEPS):
        rate = (low + high) / 2
        if node.step(rate, seconds).lost < MOST_LOST:
            low = rate
        else:
            high = rate
    return f'{low:.0f}'


def rates(folder: Path) -> Iterator[str]:
    """A table by size, outputs and engine."""
    rows = []
    cases = [
        (size, everything, engine)
        for size in ('720p', '1080p')
        for everything in (False, True)
        for engine in ENGINES
    ]
    for size, everything, engine in tqdm(cases, leave=False):
        setting = Setting(SIZES[size], everything, ENGINES[engine])
        with LiveNode(setting, folder) as node:
            highest, at30 = highest_rate(node), node.step(30, 3.0)
        rows.append(
            (
                *(size, 'all' if everything else 'mask', engine, highest),
                *(f'{at30.p50:.0f} / {at30.p99:.0f}', f'{100 * at30.lost:.0f}'),
                *(f'{at30.cpu:.0f}', f'{at30.copied:.1f}'),
            )
        )
    header = ('frames', 'outputs', 'engine', 'highest rate, Hz', 'age p50 / p99 at 30 Hz, ms')
    yield markdown_table((*header, 'lost, %', 'CPU, % of a core', 'copied a frame, MB'), rows)


def starts(folder: Path, beside: Path | None) -> Iterator[str]:
    """Ten starts from nothing to the first mask, in turns with those of another checkout."""
    found: dict[Path, list[float]] = {ROOT: [], **({beside.resolve(): []} if beside else {})}
    with LiveNode(Setting(SIZES['720p'], nodes=0), folder) as node:
        for turn in range(-1, STARTS):
            for root, seconds in found.items():
                took = node.start(root)
                if turn >= 0:  # the one before fills caches
                    seconds.append(took)
    rows = [
        (
            str(root),
            f'{statistics.median(seconds):.2f}',
            f'{min(seconds):.2f}',
            f'{max(seconds):.2f}',
        )
        for root, seconds in found.items()
    ]
    yield markdown_table(('node of', 'seconds to the first mask, median', 'least', 'most'), rows)
    if beside:
        ratios = [mine / other for mine, other in zip(*found.values(), strict=True)]
        yield f'this / other, median of {STARTS}: {statistics.median(ratios):.2f}'


def cameras(folder: Path) -> Iterator[str]:
    """One node for four cameras and four nodes, in turns."""
    ways = {'one node': Setting(SIZES['720p'], cameras=4), 'four': Setting(SIZES['720p'], nodes=4)}
    rows, rounds = [], 3
    for engine in ('bundled', 'fake, no delay'):
        steps: dict[str, list[Step]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, setting in ways.items():
                with LiveNode(setting._replace(parameters=ENGINES[engine]), folder) as node:
                    steps[name].append(node.step(30, 3.0))
        for name in ways:
            rows.append((engine, name, *_medians(steps[name])))
        pairs = list(zip(*steps.values(), strict=True))
        ratios = (
            statistics.median(getattr(one, name) / getattr(four, name) for one, four in pairs)
            for name in COLUMNS
        )
        rows.append((engine, 'one / four', *(f'{ratio:.2f}' for ratio in ratios)))
    header = ('engine', '4 cameras of 720p, 30 Hz', 'masks a second', 'age p50, ms', 'p99')
    yield markdown_table((*header, 'CPU a mask, ms', 'RSS, MiB', 'PSS, MiB'), rows)


def _medians(steps: list[Step]) -> Iterator[str]:
    for name in COLUMNS:
        yield f'{statistics.median(getattr(step, name) for step in steps):.1f}'


class Growth(NamedTuple):
    """How a cost grows: lines of (x, ms) by their names."""

    title: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]

    def sentences(self) -> Iterator[str]:
        """Each line as a straight one: what it costs at nothing, and what each unit adds."""
        for name, points in self.lines.items():
            x, y = np.array(points).T
            slope, start = np.polyfit(x, y, 1)
            values = ', '.join(f'{value:.2f}' for value in y)
            yield (
                f'{self.title}, {name}: {start:.2f} ms + {slope:.3g} ms for each {self.unit} '
                f'({values} at {", ".join(f"{at:g}" for at in x)})'
            )


def _at(setting: Setting, folder: Path, rate: float = 8.0) -> Step:
    with LiveNode(setting._replace(parameters={**FAKE, **setting.parameters}), folder) as node:
        return node.step(rate, 2.0)


def growths(folder: Path) -> Iterator[Growth]:
    """Costs at 8 Hz a camera, by one thing at a time; the engine is the fake one."""
    by_size: dict[str, list[tuple[float, float]]] = {}
    for everything in (False, True):
        name = 'all outputs' if everything else 'mask only'
        for size in tqdm(SIZES.values(), leave=False):
            step = _at(Setting(size, everything), folder)
            megapixels = size[0] * size[1] / 1e6
            by_size.setdefault(f'{name}, CPU', []).append((megapixels, step.cpu_ms))
            by_size.setdefault(f'{name}, age', []).append((megapixels, step.p50))
    yield Growth('Frame', 'megapixel', by_size)
    several: dict[str, list[tuple[float, float]]] = {}
    for count in tqdm(range(1, 7), leave=False):
        step = _at(Setting(SIZES['720p'], cameras=count), folder)
        several.setdefault('CPU a mask', []).append((count, step.cpu_ms))
        several.setdefault('age', []).append((count, step.p50))
    yield Growth('Cameras of 720p in one node', 'camera', several)
    classes: dict[str, list[tuple[float, float]]] = {}
    for count, preset in ((19, 'cityscapes'), (150, 'ade20k')):
        parameters = {'class_map': preset, 'drivable.group': 'road', 'upsampling': 'exact'}
        step = _at(Setting(SIZES['1080p'], True, parameters), folder, 3.0)
        for name in ('labels', 'confidence', 'overlay, drawing', 'drivable_area, estimating'):
            classes.setdefault(name, []).append((count, step.costs[name]))
    yield Growth('Classes, 1080p', 'class', classes)
    columns: dict[str, list[tuple[float, float]]] = {}
    for count in tqdm((16, 64, 128, 512, 1920), leave=False):
        setting = Setting(SIZES['1080p'], True, {'drivable.columns': count})
        step = _at(setting, folder)
        for name in ('drivable_area, estimating', 'drivable_area', 'drivable_area/grid'):
            columns.setdefault(name, []).append((count, step.costs[name]))
    yield Growth('Columns of the drivable area, 1080p', 'column', columns)


def plot(found: list[Growth], path: Path) -> None:
    """One panel for each growth."""
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(11, 7.5), layout='constrained')
    for growth, panel in zip(found, panels.flat, strict=True):
        for name, points in growth.lines.items():
            panel.plot(*zip(*points, strict=True), marker='o', label=name)
        units = growth.unit + ('es' if growth.unit.endswith('s') else 's')
        panel.set(title=growth.title, xlabel=units, ylabel='ms', ylim=(0, None))
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=80)


def growth(folder: Path, path: Path | None) -> Iterator[str]:
    """A line of text for each line of the plot."""
    found = list(growths(folder))
    for entry in found:
        yield from entry.sentences()
    if path:
        plot(found, path)


def main() -> int:
    """Run one of the benchmarks; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='./run bench --node',
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument('benchmark', choices=('rates', 'cameras', 'start', 'growth'))
    parser.add_argument('--beside', type=Path, metavar='FOLDER', help='of start: another checkout')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='of growth, as a picture')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            'rates': lambda: rates(folder),
            'cameras': lambda: cameras(folder),
            'start': lambda: starts(folder, options.beside),
            'growth': lambda: growth(folder, options.plot),
        }[options.benchmark]()
        for line in found:
            print(line)
    print(f'\nload {os.getloadavg()[0]:.1f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
