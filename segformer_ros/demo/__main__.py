"""python -m segformer_ros.demo: a drive through the real nodes, as ./run demo."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import yaml
from tqdm import tqdm

from segformer_ros.arguments import add_merge_argument, merged_classes
from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.demo.moments import Recording
from segformer_ros.demo.play import DemoError, DemoPlan, check_ros, play
from segformer_ros.demo.processes import Value
from segformer_ros.engines import ENGINES
from segformer_ros.errors import EXIT_INTERRUPTED, explained
from segformer_ros.model import load_model_spec
from segformer_ros.replay_report import ReplayReport
from segformer_ros.results import ResultFolder, fit_labels
from segformer_ros.sources import SourceOptions, open_source
from segformer_ros.summary import RunScore, RunSummary

DEFAULT_DRIVE = 'street:'
DEFAULT_OUT = Path('out/demo')


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the demo; returns the exit code."""
    # Being told to end is an interruption too: the nodes must not be left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parsed = _parser().parse_args(arguments)
    return explained('demo', lambda: run(parsed))


def run(arguments: argparse.Namespace) -> int:
    """Play, then make files and the summary of what was recorded."""
    check_ros()
    options = SourceOptions(
        topic=arguments.topic,
        label_topic=arguments.label_topic,
        labels=arguments.labels,
        fps=arguments.fps,
    )
    source = open_source(arguments.input, options)
    parameters = _parameters(arguments)
    model, class_map = _model(parameters)
    folder: Path = arguments.out
    recording = _empty(folder)
    plan = DemoPlan(arguments.input, options, parameters, arguments.rate, not arguments.headless)
    print(f'{source.name}: {len(source)} frames through the segmentation node, into {folder}')
    code, failure = 0, ''
    try:
        failure = play(plan, source, recording)
    except KeyboardInterrupt:
        print('interrupted; writing what there is', file=sys.stderr)
        code = EXIT_INTERRUPTED
    if not recording.exists():
        raise DemoError(failure or 'nothing was recorded: no frame came through the nodes')
    score = RunScore(class_map, merged_classes(arguments))
    summary = make_results(recording, folder, class_map, score, source.name, model)
    summary.write(folder / 'summary.json')
    print(summary.as_table())
    print(f'\n{folder}: overlay.mp4, frames/, drive.mcap, summary.json')
    if failure:
        raise DemoError(failure)
    return code


def make_results(
    recording: Path, folder: Path, class_map: ClassMap, score: RunScore, source: str, model: str
) -> RunSummary:
    """Make video, pictures and figures of a recording."""
    with Recording(recording) as drive:
        with ResultFolder(folder, class_map, drive.masks) as results:
            for view in tqdm(drive.views(), total=drive.masks, unit='frame', desc='write'):
                results.add(view)
                if view.truth is not None:
                    score.update(view.truth, fit_labels(view.labels, view.truth.shape))
        masks = drive.masks
        report = drive.report() or ReplayReport(published=masks, answered=masks)
        return RunSummary(
            source=source,
            frames_in=report.published,
            frames_segmented=masks,
            frames_broken=report.broken,
            latency_ms={'p50': report.latency_p50, 'p99': report.latency_p99},
            fps=masks / report.seconds if report.seconds else float('nan'),
            model=model,
            engine=drive.engine_facts(),
            miou=score.miou,
            iou=score.iou,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run demo',
        description='Play a drive through the real replay and segmentation nodes over DDS, and '
        'write overlay.mp4, frames/*.png, drive.mcap (for Foxglove) and summary.json.',
    )
    parser.add_argument(
        '--input', default=DEFAULT_DRIVE,
        help='bag, video, folder of images, Cityscapes folder, or street:[SEED][:FRAMES] '
        '(default: a generated drive with exact labels)',
    )  # fmt: skip
    parser.add_argument('--labels', type=Path, help='folder of label images KEY.png (train ids)')
    add_merge_argument(parser)
    parser.add_argument('--topic', default='', help='image topic of a bag with several cameras')
    parser.add_argument('--label-topic', default='', help='topic of a bag with label images')
    parser.add_argument(
        '--fps', type=float, default=10.0, help='of what has no stamps (default: 10)'
    )
    parser.add_argument(
        '--out', type=Path, default=DEFAULT_OUT, help=f'folder (default: {DEFAULT_OUT})'
    )
    parser.add_argument('--engine', choices=('auto', *ENGINES), help='what runs the network')
    parser.add_argument('--model', help='ONNX file (default: the model that comes along)')
    parser.add_argument('--precision', help='arithmetic of the network')
    parser.add_argument(
        '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='another parameter of the segmentation node; may be given again',
    )  # fmt: skip
    parser.add_argument(
        '--rate', type=float, default=0.0,
        help='times the recorded speed; 0 (default): as fast as the node takes it',
    )  # fmt: skip
    parser.add_argument(
        '--headless', action='store_true', help='no live page; only write the files'
    )
    return parser


def _parameters(arguments: argparse.Namespace) -> Dict[str, Value]:
    """Parameters of the segmentation node that the command line gives."""
    given: Dict[str, Value] = {
        name: value
        for name in ('engine', 'model', 'precision')
        if (value := getattr(arguments, name))
    }
    for text in arguments.param:
        name, separator, value = text.partition(':=')
        if not separator:
            raise DemoError(f'--param {text}: give NAME:=VALUE, as in overlay_opacity:=0.6')
        given[name] = yaml.safe_load(value)
    if given.get('model'):
        given['model'] = str(Path(str(given['model'])).resolve())
    return given


def _model(parameters: Dict[str, Value]) -> Tuple[str, ClassMap]:
    """Name and classes of the model that the node will use; raises ModelError and the like."""
    chosen = str(parameters.get('class_map', ''))
    class_map = load_class_map(chosen) if chosen else None
    if parameters.get('engine') == 'fake' and not parameters.get('model'):
        return 'fake', class_map or load_class_map('cityscapes')
    spec = load_model_spec(str(parameters.get('model', '')), class_map)
    return spec.path.name, spec.class_map


def _empty(folder: Path) -> Path:
    """Make the folder, take the results of an earlier run away; where to record."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('overlay.mp4', 'drive.mcap', 'summary.json'):
        (folder / name).unlink(missing_ok=True)
    return folder / 'drive.mcap'


if __name__ == '__main__':
    sys.exit(main())
