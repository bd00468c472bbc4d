# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A whole run: its numbers, whoever does the work, whatever interrupts it."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import painted
import pytest
import recordings

from segformer_ros.camera import CameraPose
from segformer_ros.destination import DestinationError
from segformer_ros.engines import EngineOptions
from segformer_ros.evaluation.api import EvaluationOptions, evaluate
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import EvaluationRun, Execution
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.metrics.pixel_metrics import confusion_counts, confusion_scores
from segformer_ros.metrics.shape_metrics import CITYSCAPES_SIZES
from segformer_ros.model import bundled_model
from segformer_ros.recordings import SourceOptions
from segformer_ros.recordings.bag_reader import BagReader
from tiny_models import save_external_network

SHARD_FRAMES = 16
FRAMES = 2 * SHARD_FRAMES + 6
SAME = ('metrics.json', 'frames.csv', 'confusion.npy')
"""Files that are the same for any execution."""


@pytest.fixture(scope='module')
def job(tmp_path_factory: pytest.TempPathFactory) -> EvaluationJob:
    """A bag of three shards."""
    bag = painted.write_bag(tmp_path_factory.mktemp('bag') / 'drive', FRAMES)
    return painted.bag_job(bag)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in SAME}


@pytest.fixture(scope='module')
def expected(job: EvaluationJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a run in one process."""
    out = tmp_path_factory.mktemp('alone')
    run = EvaluationRun(job, out)
    run.execute()
    run.finish()
    return contents(out)


def test_scores_are_those_of_a_plain_count(expected: dict[str, bytes]) -> None:
    masks = painted.predicted(FRAMES)
    matrix = sum(confusion_counts(painted.truth(i), masks[i], 19) for i in range(FRAMES))
    assert isinstance(matrix, np.ndarray)
    scores = confusion_scores(matrix)
    metrics = json.loads(expected['metrics.json'])
    assert metrics['confusion'] == matrix[:, :-1].tolist()
    assert metrics['miou'] == scores.miou
    assert metrics['iou']['road'] == scores.iou[0]
    assert metrics['pixels']['road'] == int(scores.pixels[0])
    assert metrics['frames'] == {'total': FRAMES, 'scored': FRAMES, 'noted': 0}


def test_two_runs_are_the_same_bytes(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    EvaluationRun(job, tmp_path).execute()
    assert contents(tmp_path) == expected


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    counted: list[int] = []
    EvaluationRun(job, tmp_path).execute(Execution(workers=2), counted.append)
    assert contents(tmp_path) == expected
    assert sum(counted) == FRAMES


def slow(job: EvaluationJob) -> EvaluationJob:
    """The job with an engine that leaves time to kill it."""
    model = dataclasses.replace(job.model, options=EngineOptions(threads=1, fake_delay=0.1))
    return dataclasses.replace(job, model=model)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    killed: list[int] = []
    counted: list[int] = []

    def kill_one(frames: int) -> None:
        counted.append(frames)
        if sum(counted) > 3 and not killed:
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            killed.append(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)

    EvaluationRun(slow(job), tmp_path).execute(Execution(workers=2), kill_one)
    assert killed
    assert sum(counted) == FRAMES
    assert contents(tmp_path) == expected


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_ends_the_run(job: EvaluationJob, tmp_path: Path) -> None:
    run = EvaluationRun(slow(job), tmp_path)
    stop = threading.Event()

    def kill_all() -> None:
        while not stop.is_set():
            for child in multiprocessing.active_children():
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(EvaluationError, match=r'3 workers died on frames \d+ to \d+'):
            run.execute(Execution(workers=2))
    finally:
        stop.set()
        killer.join()


@pytest.mark.slow
def test_ray_gives_the_same_bytes(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip('ray', reason="Ray is not installed: pip install 'ray>=2.9'")
    EvaluationRun(job, tmp_path).execute(Execution(workers=2, ray='local'))
    assert contents(tmp_path) == expected


@pytest.mark.slow
def test_a_killed_ray_actor_costs_nothing_but_time(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip('ray', reason="Ray is not installed: pip install 'ray>=2.9'")
    killed: list[int] = []
    finished = threading.Event()

    def kill_one() -> None:
        while not finished.wait(0.1) and not killed:
            for file in Path('/proc').glob('[0-9]*/cmdline'):
                with contextlib.suppress(OSError):
                    if file.read_bytes().startswith(b'ray::_Serving.score'):
                        killed.append(int(file.parent.name))
                        os.kill(killed[-1], signal.SIGKILL)
                        return

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        EvaluationRun(slow(job), tmp_path).execute(Execution(workers=2, ray='local'))
    finally:
        finished.set()
        killer.join()
    assert killed
    assert contents(tmp_path) == expected


class _InterruptedError(Exception):
    pass


def test_an_interrupted_run_resumes(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    done: list[int] = []

    def interrupt(frames: int) -> None:
        done.append(frames)
        if sum(done) > 2 * SHARD_FRAMES:
            raise _InterruptedError

    with EvaluationRun(job, tmp_path) as run, pytest.raises(_InterruptedError):
        run.execute(progress=interrupt)
    again = EvaluationRun(job, tmp_path)
    assert again.frames == FRAMES
    # The second shard is segmented, and perhaps not scored.
    assert FRAMES - again.left in (SHARD_FRAMES, 2 * SHARD_FRAMES)
    again.execute()
    again.finish()
    assert contents(tmp_path) == expected
    assert not list(tmp_path.glob('.*'))


def test_masks_of_a_former_run_are_removed(tmp_path: Path) -> None:
    masks = tmp_path / 'out/predictions'
    job = dataclasses.replace(painted.folder_job(tmp_path, 5), predictions=str(masks))
    for left in (5, 3):
        run = EvaluationRun(job, tmp_path / 'out')
        run.execute()
        run.finish()
        assert len(list(masks.rglob('*.png'))) == left
        for image in sorted((tmp_path / 'images').iterdir())[3:]:
            image.unlink()


def test_a_resumed_run_has_all_masks(tmp_path: Path) -> None:
    """Frames whose masks were removed in the meantime are segmented again."""
    masks = tmp_path / 'out/predictions'
    job = dataclasses.replace(painted.folder_job(tmp_path, FRAMES), predictions=str(masks))
    with EvaluationRun(job, tmp_path / 'out') as first:
        first.execute()
        assert first.kept == FRAMES
    (masks / 'images/frame0003.png').unlink()
    again = EvaluationRun(job, tmp_path / 'out')
    assert again.left == SHARD_FRAMES
    again.execute()
    assert len(list(masks.rglob('*.png'))) == FRAMES


def test_other_settings_do_not_resume(job: EvaluationJob, tmp_path: Path) -> None:
    with EvaluationRun(job, tmp_path) as first:
        first.execute()
    assert EvaluationRun(job, tmp_path).left == 0
    other = dataclasses.replace(job, upsampling='fast')
    assert EvaluationRun(other, tmp_path).left == FRAMES


def damaged(content: bytes, kind: str) -> bytes:
    """A checkpoint of which a part is lost."""
    middle = len(content) // 2
    return {
        'cut': content[:100],
        'zeros': content[:512] + bytes(512) + content[1024:],
        'bit': content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        'empty': b'',
        'no archive': b'PK\x05\x06' + bytes(18),
    }[kind]


@pytest.mark.parametrize('kind', ['cut', 'zeros', 'bit', 'empty', 'no archive', 'of another'])
def test_a_checkpoint_that_cannot_be_read_is_done_anew_and_said(
    job: EvaluationJob, expected: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    with EvaluationRun(job, tmp_path) as run:
        run.execute()
    first, second, _ = sorted(tmp_path.glob('.partial/*/*.npz'))
    second.write_bytes(
        first.read_bytes() if kind == 'of another' else damaged(second.read_bytes(), kind)
    )
    with EvaluationRun(job, tmp_path) as again:
        assert again.left == SHARD_FRAMES
        (note,) = again.notes
        assert note.startswith(f'the checkpoint {second} cannot be read: ')
        assert note.endswith('its frames are scored again')
        again.execute()
        again.finish()
    assert contents(tmp_path) == expected


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    job: EvaluationJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def tell_sync(descriptor: int) -> None:
        kind = 'folder' if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 'file'
        done.append(f'sync {kind}')
        fsync(descriptor)

    def tell_replace(source: Path, target: Path) -> None:
        done.append(target.suffix)
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', tell_sync)
    monkeypatch.setattr(os, 'replace', tell_replace)
    with EvaluationRun(job, tmp_path) as run:
        run.execute()
    assert done[:6] == ['sync file', '.npz', 'sync folder'] * 2


def test_a_second_run_into_a_folder_is_refused(job: EvaluationJob, tmp_path: Path) -> None:
    with (
        EvaluationRun(job, tmp_path),
        pytest.raises(DestinationError, match='another run writes into'),
    ):
        EvaluationRun(dataclasses.replace(job, upsampling='fast'), tmp_path)
    with EvaluationRun(job, tmp_path) as run:
        run.execute()
        run.finish()
    assert not list(tmp_path.glob('.*'))


def test_a_run_of_another_process_is_refused(job: EvaluationJob, tmp_path: Path) -> None:
    """However it ends, the folder is free after it."""
    code = 'import fcntl, os, sys; d = os.open(sys.argv[1], 0); fcntl.flock(d, 2); print(d)'
    with subprocess.Popen(
        [sys.executable, '-c', f'{code}; sys.stdout.flush(); input()', str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(DestinationError, match='another run writes into'):
            EvaluationRun(job, tmp_path)
        other.kill()
    with EvaluationRun(job, tmp_path) as run:
        assert run.left == FRAMES


@pytest.mark.parametrize('where', ['.partial', '.partial/FINGERPRINT'])
def test_links_in_place_of_the_checkpoints_are_refused(
    job: EvaluationJob, tmp_path: Path, where: str
) -> None:
    out, foreign = tmp_path / 'out', tmp_path / 'foreign'
    kept = foreign / '0123456789abcdef/000000.npz'
    kept.parent.mkdir(parents=True)
    kept.write_text('kept')
    place = out / where.replace('FINGERPRINT', job.fingerprint(job.open_sources()))
    place.parent.mkdir(parents=True)
    place.symlink_to(foreign)
    with pytest.raises(EvaluationError, match='is a link or a file, .* remove it, or give'):
        EvaluationRun(job, out)
    assert kept.read_text() == 'kept'


def test_what_is_not_ours_among_the_checkpoints_stays(job: EvaluationJob, tmp_path: Path) -> None:
    foreign, root = tmp_path / 'foreign', tmp_path / 'out/.partial'
    stale = root / '0123456789abcdef'
    stale.mkdir(parents=True)
    foreign.mkdir()
    (foreign / '000000.npz').write_text('kept')
    (root / 'fedcba9876543210').symlink_to(foreign)
    (root / 'notes').mkdir()
    (root / 'notes/000000.npz').write_text('kept')
    (stale / 'mine.txt').write_text('kept')
    (stale / '000000.npz').touch()
    (stale / '.000001.npz.77').touch()
    with EvaluationRun(job, tmp_path / 'out') as run:
        run.execute()
        run.finish()
    assert (foreign / '000000.npz').read_text() == 'kept'
    left = [path.relative_to(root) for path in root.rglob('*') if not path.is_dir()]
    assert sorted(map(str, left)) == ['0123456789abcdef/mine.txt', 'notes/000000.npz']
    assert (root / 'fedcba9876543210').is_symlink()


def test_a_checkpoint_that_is_a_link_is_not_followed(job: EvaluationJob, tmp_path: Path) -> None:
    with EvaluationRun(job, tmp_path / 'out') as run:
        run.execute()
    part = sorted((tmp_path / 'out').glob('.partial/*/*.npz'))[1]
    elsewhere = part.rename(tmp_path / 'elsewhere')
    content = elsewhere.read_bytes()
    part.symlink_to(elsewhere)
    with EvaluationRun(job, tmp_path / 'out') as again:
        assert again.left == SHARD_FRAMES
        again.execute()
        again.finish()
    assert elsewhere.read_bytes() == content


def test_masks_behind_a_link_are_not_removed(tmp_path: Path) -> None:
    photo = tmp_path / 'photos/photo.png'
    recordings.write_png(photo, recordings.picture(0))
    masks = tmp_path / 'out/predictions'
    masks.mkdir(parents=True)
    (masks / 'drive').symlink_to(photo.parent)
    job = dataclasses.replace(painted.folder_job(tmp_path, 3), predictions=str(masks))
    with EvaluationRun(job, tmp_path / 'out') as run:
        run.execute()
    assert photo.exists() and len(list((masks / 'images').glob('*.png'))) == 3


def test_several_recordings_are_told_apart(tmp_path: Path) -> None:
    bags = [painted.write_bag(tmp_path / name / 'drive', 5) for name in ('a', 'b')]
    job = EvaluationJob(tuple(map(str, bags)), SourceOptions(label_topic='/labels'), painted.FAKE)
    run = EvaluationRun(job, tmp_path / 'out')
    metrics = run.execute().metrics
    assert [item['name'] for item in metrics['inputs']] == ['000_drive', '001_drive']
    alone = EvaluationRun(painted.bag_job(bags[0]), tmp_path / 'alone').execute().metrics
    assert metrics['miou'] == alone['miou']
    # The first frame of a recording does not follow the last one of another.
    assert metrics['flicker'] == alone['flicker']


def test_a_bag_that_carries_its_mount_is_scored_in_metres(tmp_path: Path) -> None:
    """The same numbers as with the mount on the command line."""
    pose = CameraPose(1.4, pitch=0.1)
    bag = painted.write_bag(tmp_path / 'drive', 5, pose=pose)
    job = painted.bag_job(bag)
    metrics = EvaluationRun(job, tmp_path / 'out').execute().metrics
    assert metrics['drivable']['metres'] is not None
    assert metrics['inputs'][0]['notes'] == []
    unread = dataclasses.replace(job.sources, vehicle_frame='')
    given = dataclasses.replace(job, sources=unread, pose=pose)
    assert (
        EvaluationRun(given, tmp_path / 'given').execute().metrics['drivable']
        == metrics['drivable']
    )
    alone = dataclasses.replace(job, sources=unread)
    assert EvaluationRun(alone, tmp_path / 'alone').execute().metrics['drivable']['metres'] is None


def test_a_mount_that_is_not_found_is_in_the_document(tmp_path: Path) -> None:
    bag = painted.write_bag(tmp_path / 'drive', 3, pose=CameraPose(1.4))
    job = painted.bag_job(bag)
    other = dataclasses.replace(job.sources, vehicle_frame='chassis')
    metrics = (
        EvaluationRun(dataclasses.replace(job, sources=other), tmp_path / 'out').execute().metrics
    )
    (note,) = metrics['inputs'][0]['notes']
    assert 'no transform from chassis to front_optical' in note
    assert metrics['drivable']['metres'] is None


def test_agreement_with_a_reference(tmp_path: Path) -> None:
    images, _ = painted.write_folders(tmp_path, 4)
    job = EvaluationJob((str(images),), model=painted.FAKE, reference=painted.FAKE)
    metrics = EvaluationRun(job, tmp_path / 'out').execute().metrics
    assert metrics['miou'] == 1.0
    assert metrics['reference']['model'] == 'fake'


@pytest.mark.parametrize('prefix', ['', 'file://'])
def test_instances_of_a_cityscapes_folder_are_weighted_as_its_server_does(
    tmp_path: Path, prefix: str
) -> None:
    root = tmp_path / 'cityscapes'
    labels = np.zeros(painted.SIZE, np.uint8)  # label id 0: unlabeled
    labels[32:] = 7
    labels[40:56, 16:48] = 26
    instances = np.where(labels == 26, 26001, labels.astype(np.uint16))
    mask = np.zeros(painted.SIZE, np.uint8)
    mask[40:56, 16:32] = 13  # half of the car
    name = 'aachen/aachen_000000_000019'
    recordings.write_png(root / f'leftImg8bit/val/{name}_leftImg8bit.png', painted.paint(mask))
    recordings.write_png(root / f'gtFine/val/{name}_gtFine_labelIds.png', labels)
    recordings.write_png(root / f'gtFine/val/{name}_gtFine_instanceIds.png', instances)
    job = EvaluationJob((f'{prefix}{root}',), model=painted.FAKE)
    metrics = EvaluationRun(job, tmp_path / 'out').execute().metrics
    car = metrics['classes'].index('car')
    matrix = np.array(metrics['confusion'])
    share = matrix[car, car] / matrix[car].sum()
    false = matrix[:, car].sum() - matrix[car, car]
    size = CITYSCAPES_SIZES['car']
    assert 0.3 < share < 0.7
    assert metrics['class_iiou']['car'] == pytest.approx(share * size / (size + false))


@pytest.mark.parametrize('workers', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_model_is_parsed_and_a_recording_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """By the whole of an evaluation, in the process that asks for it."""
    parsed: list[int] = []
    opened: list[Path] = []
    parse, enter = onnx.load_from_string, BagReader.__enter__

    def counted_parse(data: bytes) -> onnx.ModelProto:
        parsed.append(len(data))
        return parse(data)

    def counted_enter(reader: BagReader) -> BagReader:
        opened.append(reader.path)
        return enter(reader)

    monkeypatch.setattr(onnx, 'load_from_string', counted_parse)
    monkeypatch.setattr(BagReader, '__enter__', counted_enter)
    model = tmp_path / 'model.onnx'
    model.write_bytes(bundled_model().read_bytes())
    bag = painted.write_bag(tmp_path / 'drive', 3)
    sources = SourceOptions(label_topic='/labels', label_tolerance=0.01)
    out = tmp_path / 'out'
    options = EvaluationOptions(sources=sources, write_mcap=True, workers=workers)
    report = evaluate(bag, model, out, options)
    assert report.metrics['frames']['scored'] == 3
    assert len(parsed) == 1
    assert opened == [bag]


def test_a_model_that_changes_between_two_runs_is_read_anew(tmp_path: Path) -> None:
    model = tmp_path / 'model.onnx'
    save_external_network(model)
    images, _ = painted.write_folders(tmp_path, 1)
    job = EvaluationJob((str(images),), model=ModelChoice(str(model)), reference=painted.FAKE)
    before = EvaluationRun(job, tmp_path / 'a').blank()['model']
    model.write_bytes(bundled_model().read_bytes())
    after = EvaluationRun(job, tmp_path / 'b').blank()['model']
    assert before['input'] != after['input']
    assert before['contract'] == after['contract']


def test_refusals(tmp_path: Path) -> None:
    images, _ = painted.write_folders(tmp_path, 2)
    with pytest.raises(EvaluationError, match=r'images has no truth; give --labels FOLDER'):
        EvaluationRun(EvaluationJob((str(images),), model=painted.FAKE), tmp_path / 'out')
    with pytest.raises(EvaluationError, match='nothing to evaluate'):
        EvaluationJob(())
    with pytest.raises(EvaluationError, match='-1 worst frames; give 0 or more'):
        EvaluationJob((str(images),), worst=-1)
    with pytest.raises(EvaluationError, match='shards of 24 frames; give a multiple of 16'):
        EvaluationJob((str(images),), shard_frames=24)
    with pytest.raises(EvaluationError, match='0 workers; give 1 or more'):
        Execution(workers=0)
