# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What is read as it was recorded: rosbag2's test bags, and MCAP's conformance suite.

    ./run python -m tools.benchmarks.recordings rosbag2 CHECKOUT_OF_ros2/rosbag2
    ./run python -m tools.benchmarks.recordings mcap CHECKOUT_OF_foxglove/mcap

`rosbag2` compares each bag of the checkout with what SQLite and the `mcap` package read. `mcap`
makes each file of tests/conformance/data by the official writer from its json, which is all that a
checkout without Git LFS holds, and compares what is read with what the json says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

from segformer_ros.recordings.bag_reader import BagReader, storage_files
from segformer_ros.recordings.bag_storage import RawMessage, StorageError
from segformer_ros.recordings.mcap_file import McapFile
from segformer_ros.recordings.source import SourceError

Messages = dict[str, list[tuple[int, bytes]]]


def main() -> int:
    """Run one of the benchmarks; 1 where something was read otherwise than it was recorded."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('kind', choices=('rosbag2', 'mcap'))
    parser.add_argument('checkout', type=Path, help='folder with the files of the repository')
    arguments = parser.parse_args()
    if arguments.kind == 'rosbag2':
        return compare_bags(arguments.checkout)
    return compare_suite(arguments.checkout / 'tests/conformance/data')


def compare_bags(checkout: Path) -> int:
    """Count the bags of a checkout whose messages are those that the official readers give."""
    files = [*checkout.rglob('*.mcap'), *checkout.rglob('*.db3')]
    beside = {file.parent for file in files if not (file.parent / 'metadata.yaml').exists()}
    apart = {folder for folder in beside if len({*_stems(folder)}) > 1}
    bags = sorted({file if file.parent in apart else file.parent for file in files})
    same, messages = 0, 0
    for bag in bags:
        expected: Messages = {}
        for file in storage_files(bag) if bag.is_dir() else (bag,):
            for topic, found in _official(file):
                expected.setdefault(topic, []).append(found)
        try:
            with BagReader(bag) as reader:
                read = {
                    topic: [(entry.time, bytes(entry.data)) for entry in reader.messages(topic)]
                    for topic in reader.topics
                }
        except SourceError as error:
            print(f'{bag.relative_to(checkout)} is refused: {error}')
            continue
        if {topic: found for topic, found in read.items() if found} != expected:
            print(f'{bag.relative_to(checkout)} is read otherwise')
            continue
        same, messages = same + 1, messages + sum(map(len, expected.values()))
    print(f'{same} of {len(bags)} bags are read as the official readers do, {messages} messages')
    return int(same < len(bags))


def _stems(folder: Path) -> Iterator[str]:
    """Names of storage files without the number that a split bag's have."""
    return (file.stem.rstrip('0123456789') for file in storage_files(folder))


def _official(file: Path) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """Topic, time and content of each message of a storage file, by time."""
    if file.suffix == '.mcap':
        from mcap.reader import make_reader

        with file.open('rb') as stream:
            for _, channel, message in make_reader(stream).iter_messages():
                yield channel.topic, (message.log_time, bytes(message.data))
        return
    database = sqlite3.connect(f'file:{file}?immutable=1', uri=True)
    for topic, stamp, data in database.execute(
        'SELECT name, timestamp, data FROM messages JOIN topics ON topics.id = topic_id '
        'ORDER BY timestamp, messages.id'
    ):
        yield topic, (stamp, bytes(data))
    database.close()


def compare_suite(folder: Path) -> int:
    """Count the files of MCAP's conformance suite that are read as their json says."""
    documents = sorted(folder.rglob('*.json'))
    same, exact = 0, 0
    with tempfile.TemporaryDirectory() as made:
        file = Path(made, 'x.mcap')
        for document in documents:
            facts = json.loads(document.read_text())
            data = suite_file(facts['records'], facts['meta']['variant']['features'])
            file.write_bytes(data)
            exact += _is_published(data, document.with_suffix('.mcap'))
            messages = [
                (int(fields['log_time']), bytes(map(int, fields['data'])))
                for fields in (
                    dict(entry['fields'])
                    for entry in facts['records']
                    if entry['type'] == 'Message'
                )
            ]
            read = _suite_messages(file, document.name)
            if read == sorted(messages, key=lambda message: message[0]):
                same += 1
            elif read is not None:
                print(f'{document.name}: {len(read)} messages are read, or others')
    print(
        f'{same} of {len(documents)} files are read as their json says; {exact} of them are, bit '
        'for bit, those of the suite'
    )
    return int(same < len(documents))


def _suite_messages(file: Path, name: str) -> list[tuple[int, bytes]] | None:
    try:
        read = McapFile(file, file)
    except StorageError as error:
        print(f'{name} is refused: {error}')
        return None
    entries = [entry for topic in read.topics for entry in read.entries(topic)]
    read.close()
    if read.notes:
        print(f'{name}: {read.notes}')
    return [(entry.time, bytes(entry.data)) for entry in entries if isinstance(entry, RawMessage)]


def _is_published(data: bytes, file: Path) -> bool:
    """Whether a file of the checkout, or the one that its Git LFS pointer names, is the same."""
    if not file.is_file():
        return False
    there, digest = file.read_bytes(), hashlib.sha256(data).hexdigest()
    return there == data or f'oid sha256:{digest}'.encode() in there


def suite_file(records: list[dict[str, Any]], features: list[str]) -> bytes:
    """A file of the conformance suite, made by the official writer."""
    from mcap.writer import CompressionType, IndexType, Writer

    indexes = {
        'ax': IndexType.ATTACHMENT,
        'chx': IndexType.CHUNK,
        'mx': IndexType.MESSAGE,
        'mdx': IndexType.METADATA,
    }
    chosen = IndexType.NONE
    for feature in {*features} & {*indexes}:
        chosen |= indexes[feature]
    out = BytesIO()
    writer = Writer(
        out,
        index_types=chosen,
        compression=CompressionType.NONE,
        repeat_channels='rch' in features,
        repeat_schemas='rsh' in features,
        use_chunking='ch' in features,
        use_statistics='st' in features,
        use_summary_offsets='sum' in features,
        enable_crcs=True,
        enable_data_crcs=True,
    )
    with _padding(writer) if 'pad' in features else nullcontext():
        _write_records(writer, records)
    return out.getvalue()


@contextmanager
def _padding(writer: Any) -> Iterator[None]:
    """Let records have more behind their fields, as newer versions of the format may."""
    from mcap.data_stream import RecordBuilder
    from mcap.opcode import Opcode

    exact = (Opcode.MESSAGE, Opcode.FOOTER, Opcode.CHUNK, Opcode.DATA_END)
    chunks = writer._Writer__chunk_builder  # those within are exact
    builder: Any = RecordBuilder
    start, finish = builder.start_record, builder.finish_record
    opcodes: list[Opcode] = []

    def starting(self: RecordBuilder, opcode: Opcode) -> None:
        opcodes.append(opcode)
        start(self, opcode)

    def finishing(self: RecordBuilder) -> None:
        if opcodes.pop() not in exact and not (chunks and self is chunks.record_writer):
            self.write(b'\1\xff\xff')
        finish(self)

    builder.start_record, builder.finish_record = starting, finishing
    try:
        yield
    finally:
        builder.start_record, builder.finish_record = start, finish


def _write_records(writer: Any, records: list[dict[str, Any]]) -> None:
    """Write the records of the data; the summary repeats some, and the writer makes those."""
    once: set[str] = set()
    for record in records:
        fields = dict(record['fields'])
        data = bytes(map(int, fields.get('data', ())))
        kind = record['type']
        if kind in ('Schema', 'Channel') and kind in once:
            continue
        once.add(kind)
        if kind == 'Header':
            writer.start(fields['profile'], fields['library'])
        elif kind == 'Schema':
            writer.register_schema(fields['name'], fields['encoding'], data)
        elif kind == 'Channel':
            writer.register_channel(
                fields['topic'],
                fields['message_encoding'],
                int(fields['schema_id']),
                fields['metadata'],
            )
        elif kind == 'Message':
            writer.add_message(
                int(fields['channel_id']),
                int(fields['log_time']),
                data,
                int(fields['publish_time']),
                int(fields['sequence']),
            )
        elif kind == 'Attachment':
            writer.add_attachment(
                int(fields['create_time']),
                int(fields['log_time']),
                fields['name'],
                fields['media_type'],
                data,
            )
        elif kind == 'Metadata':
            writer.add_metadata(fields['name'], fields['metadata'])
    writer.finish()


if __name__ == '__main__':
    sys.exit(main())
