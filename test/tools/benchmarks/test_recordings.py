# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The comparison with what others read, and the long video, on small ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import recordings as rec

from tools.benchmarks.recordings import compare_bags, compare_suite


def record(kind: str, **fields: Any) -> dict[str, Any]:
    """A record as the suite's documents have it."""
    return {'type': kind, 'fields': [[name, value] for name, value in fields.items()]}


def write_document(path: Path, *features: str) -> None:
    """A document of one message."""
    records = [
        record('Header', library='', profile=''),
        record('Schema', data=['4'], encoding='c', id='1', name='Example'),
        record(
            'Channel', id='1', message_encoding='a', metadata={}, schema_id='1', topic='example'
        ),
        record(
            'Message', channel_id='1', data=['1'], log_time='2', publish_time='2', sequence='1'
        ),
        record('DataEnd', data_section_crc='0'),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {'variant': {'features': features}}
    path.write_text(json.dumps({'records': records, 'meta': meta}))


def test_files_of_the_suite_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_document(tmp_path / 'One' / 'One.json')
    write_document(tmp_path / 'One' / 'One-ch-mx-pad.json', 'ch', 'mx', 'pad')
    assert compare_suite(tmp_path) == 0
    assert '2 of 2 files are read as their json says; 0 of them' in capsys.readouterr().out
    monkeypatch.setattr('tools.benchmarks.recordings._suite_messages', lambda *_: [])
    assert compare_suite(tmp_path) == 1
    assert 'One.json: 0 messages are read, or others' in capsys.readouterr().out


def test_bags_of_a_checkout_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for storage in ('mcap', 'sqlite3'):
        rec.write_bag(tmp_path / storage, 2, storage)
    single = next((tmp_path / 'mcap').glob('*.mcap'))
    for name in ('topics.mcap', 'services.mcap'):  # two bags that lie in one folder
        (tmp_path / 'apart').mkdir(exist_ok=True)
        (tmp_path / 'apart' / name).write_bytes(single.read_bytes())
    assert compare_bags(tmp_path) == 0
    assert '4 of 4 bags are read as the official readers do, 20' in capsys.readouterr().out
    (tmp_path / 'sqlite3' / 'metadata.yaml').write_text(
        (tmp_path / 'sqlite3' / 'metadata.yaml').read_text().replace('.db3', '_x.db3')
    )
    assert compare_bags(tmp_path) == 1
    assert 'sqlite3 is refused: ' in capsys.readouterr().out


def test_a_lost_packet_and_parts_give_no_other_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = pytest.importorskip('tools.benchmarks.video_topic', reason='ROS is not installed')
    bag, cut, lost = tmp_path / 'drive.mcap', tmp_path / 'cut.mcap', video.lost_packets(240)
    assert lost == {40, 120, 180, 190}
    video.write_bags(bag, cut, lost, 240, (96, 128))
    assert video.compare_parts(bag, cut, lost, 240) == 0
    said = capsys.readouterr().out
    assert 'in 6 parts of 47: 240, 0 of them others' in said
    assert ': 160, 0 others, 76 refused' in said
