"""Bags in one mcap file, for Foxglove and `ros2 bag play`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from segformer_ros.formats.ros_types import ros_types
from segformer_ros.formats.zstd import compress_checked
from segformer_ros.recording.errors import RecordingError
from segformer_ros.resources import PACKAGE, share_path

DEFINITIONS: Tuple[Tuple[str, str], ...] = (
    (PACKAGE, 'DrivableArea'),
    ('vision_msgs', 'VisionClass'),
    ('vision_msgs', 'LabelInfo'),
)
"""Messages beyond those that rosbags knows, what others hold before the others."""


class BagWriter:
    """Writes serialized messages into one mcap file with their definitions; a context manager.

    path: the file, NAME.mcap; any other is a folder with the file and its metadata.yaml. It
    appears under its name when it is closed, whole, also where the writing was interrupted; with
    no message written there is none. Raises RecordingError where the installed
    rosbags cannot write one.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        except ImportError as error:
            raise RecordingError(
                f'the installed rosbags writes no {path.name} ({error}); needed is 0.10.10 or '
                'later, which needs Python 3.10'
            ) from error
        self.path = path
        self.messages = 0
        self._folder = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
        self._writer = Writer(
            self._folder / path.stem, version=8, storage_plugin=StoragePlugin.MCAP
        )
        # Label maps shrink fifty-fold.
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        # rosbags writes chunks without a CRC; by this checksum, too, every reader sees damage.
        storage: Any = getattr(self._writer, 'storage', None)
        if hasattr(storage, 'compressor'):
            storage.compressor = compress_checked
        self._typestore = recording_types()
        self._connections: Dict[str, Any] = {}
        self._closed = False

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def add_topic(self, topic: str, msgtype: str, latched: bool = False) -> None:
        """Add a topic of a type such as 'sensor_msgs/msg/Image'; raises RecordingError."""
        if msgtype not in self._typestore.fielddefs:
            raise RecordingError(f'topic {topic} has type {msgtype}, which has no definition here')
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=self._typestore, offered_qos_profiles=_qos(latched)
        )

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        """Append the CDR bytes of a message of a topic that was added."""
        self._writer.write(self._connections[topic], time_ns, data)
        self.messages += 1

    def write_message(self, topic: str, message: Any, time_ns: int) -> None:
        """Append a message made from `recording_types()`."""
        data = self._typestore.serialize_cdr(message, self._connections[topic].msgtype)
        self.write(topic, data, time_ns)

    def write_fields(self, topic: str, fields: Mapping[str, Any], time_ns: int) -> None:
        """Append a message given by all its fields, those of messages within it as mappings."""
        msgtype = self._connections[topic].msgtype
        self.write_message(topic, _made(self._typestore, msgtype, fields), time_ns)

    def close(self) -> None:
        """Finish the file; may be called again without harm."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        if self.messages:
            bag = self._folder / self.path.stem
            (bag / f'{bag.name}.mcap' if self.path.suffix == '.mcap' else bag).replace(self.path)
        shutil.rmtree(self._folder)


def recording_types() -> Any:
    """ROS 2's message types and those of DEFINITIONS that are here, as a rosbags typestore."""
    from rosbags.typesys import get_types_from_msg

    typestore = ros_types()
    for package, name in DEFINITIONS:
        file = _find_definition(package, name)
        if file is not None:
            text = file.read_text(encoding='utf-8')
            typestore.register(get_types_from_msg(text, f'{package}/msg/{name}'))
    return typestore


def _made(typestore: Any, msgtype: str, fields: Mapping[str, Any]) -> Any:
    """A message of a typestore's type made of its fields."""
    values = dict(fields)
    for name, (_, inner) in typestore.fielddefs[msgtype][1]:
        if isinstance(values[name], dict):
            values[name] = _made(typestore, inner, values[name])
    return typestore.types[msgtype](**values)


def _find_definition(package: str, name: str) -> Optional[Path]:
    """A message's definition, in the source tree or in a sourced ROS workspace."""
    if package == PACKAGE:
        return share_path(f'msg/{name}.msg')
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    files = (Path(prefix, 'share', package, 'msg', f'{name}.msg') for prefix in prefixes if prefix)
    return next((file for file in files if file.is_file()), None)


def _qos(latched: bool) -> List[Any]:
    """What `ros2 bag play` shall offer: reliable, and kept for late joiners where latched."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    unset = QosTime(0, 0)
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return [
        Qos(
            QosHistory.KEEP_LAST,
            10,
            QosReliability.RELIABLE,
            durability,
            unset,
            unset,
            QosLiveliness.AUTOMATIC,
            unset,
            False,
        )
    ]
