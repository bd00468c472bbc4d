# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Tiny real recordings for tests: bags, videos, image folders, each frame known by its index."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
INFO = 'sensor_msgs/msg/CameraInfo'
TF = 'tf2_msgs/msg/TFMessage'
VIDEO = 'foxglove_msgs/msg/CompressedVideo'
FFMPEG = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
VIDEO_DEFINITIONS = {
    VIDEO: 'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format',
    FFMPEG: 'std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\n'
    'uint8 flags\nbool is_bigendian\nuint8[] data',
}
for name, text in VIDEO_DEFINITIONS.items():
    TYPESTORE.register(get_types_from_msg(text, name))
SIZE = (48, 64)
"""Height and width of the frames."""
START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000


def stamp_ns(index: int) -> int:
    """Stamp of a recorded message, at 10 Hz."""
    return START_NS + index * STEP_NS


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8 BGR: even, with the frame's index times 8 as its value (up to 31)."""
    return np.full((*size, 3), index * 8, np.uint8)


def labels(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W) uint8: class `index % 19`, with a border of ignored pixels."""
    values = np.full(size, index % 19, np.uint8)
    values[0] = 255
    return values


def assert_labels(found: np.ndarray | None, index: int) -> None:
    """The labels are those that `labels` makes."""
    assert found is not None
    assert np.array_equal(found, labels(index))


def index_of(pixels: np.ndarray) -> int:
    """The index of a frame that was made by `picture`, also after lossy coding."""
    return round(float(pixels.mean()) / 8)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write an image file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_folder(folder: Path, count: int) -> Path:
    """Write a folder of images frame0.png, frame1.png and so on."""
    for index in range(count):
        write_png(folder / f'frame{index}.png', picture(index))
    return folder


def write_video(
    path: Path,
    count: int,
    fps: int = 10,
    codec: str = 'libx264',
    pix_fmt: str = 'yuv420p',
    **options: str,
) -> Path:
    """Write a video with a key frame each fifth frame; `options` are the encoder's."""
    with av.open(str(path), 'w') as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.height, stream.width = SIZE
        stream.pix_fmt = pix_fmt
        stream.time_base = Fraction(1, fps)
        stream.options = {'g': '5', 'bf': '2', **options}
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), 'bgr24')))
        container.mux(stream.encode())
    return path


def exif(orientation: int = 1, focal_35mm: int = 0) -> bytes:
    """An APP1 segment of a JPEG that says how it is to be turned, and of which lens it is."""
    entry = struct.Struct('<HHIHxx')
    details = 8 + 2 + 12 * 2 + 4
    main = entry.pack(0x0112, 3, 1, orientation) + struct.pack('<HHII', 0x8769, 4, 1, details)
    block = b'II*\0' + struct.pack('<IH', 8, 2) + main + bytes(4)
    block += struct.pack('<H', 1) + entry.pack(0xA405, 3, 1, focal_35mm) + bytes(4)
    content = b'Exif\0\0' + block
    return b'\xff\xe1' + struct.pack('>H', len(content) + 2) + content


def write_photo(path: Path, pixels: np.ndarray, segment: bytes = b'') -> None:
    """Write a JPEG with a segment of its own, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode('.jpg', pixels, (cv2.IMWRITE_JPEG_QUALITY, 98))[1].tobytes()
    path.write_bytes(data[:2] + segment + data[2:])


@dataclass
class BagRecorder:
    """Writes messages of known content into one bag; use `write_bag` for the usual ones."""

    writer: Writer

    def topic(self, name: str, msgtype: str) -> Any:
        """Add a topic."""
        return self.writer.add_connection(name, msgtype, typestore=TYPESTORE)

    def write(self, connection: Any, message: Any, time: int) -> None:
        """Write a message."""
        data = TYPESTORE.serialize_cdr(message, connection.msgtype)
        self.writer.write(connection, time, data)


def header(time: int, frame_id: str = 'front_optical') -> Any:
    """A std_msgs/Header."""
    types = TYPESTORE.types
    stamp = types['builtin_interfaces/msg/Time'](time // 10**9, time % 10**9)
    return types['std_msgs/msg/Header'](stamp, frame_id)


def image(pixels: np.ndarray, encoding: str, time: int) -> Any:
    """A sensor_msgs/Image."""
    height, width = pixels.shape[:2]
    step = pixels.strides[0]
    data = pixels.reshape(-1)
    return TYPESTORE.types[IMAGE](header(time), height, width, encoding, 0, step, data)


def compressed(pixels: np.ndarray, kind: str, time: int) -> Any:
    """A sensor_msgs/CompressedImage of kind 'jpeg' or 'png'."""
    data = cv2.imencode(f'.{kind}', pixels)[1].reshape(-1)
    return TYPESTORE.types[COMPRESSED](header(time), kind, data)


def camera_info(focal: float = 80.0, size: tuple[int, int] = SIZE) -> Any:
    """A sensor_msgs/CameraInfo of a pinhole camera."""
    height, width = size
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1])
    p = np.insert(k.reshape(3, 3), 3, 0, axis=1).ravel()
    roi = TYPESTORE.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    distortion, rotation = np.zeros(5), np.eye(3).ravel()
    return TYPESTORE.types[INFO](
        header(START_NS), height, width, 'plumb_bob', distortion, k, rotation, p, 0, 0, roi
    )


def transform(
    parent: str,
    child: str,
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
) -> Any:
    """A geometry_msgs/TransformStamped: where `child` stands in `parent`."""
    types = TYPESTORE.types
    vector = types['geometry_msgs/msg/Vector3'](*translation)
    turn = types['geometry_msgs/msg/Quaternion'](*quaternion)
    return types['geometry_msgs/msg/TransformStamped'](
        header(START_NS, parent), child, types['geometry_msgs/msg/Transform'](vector, turn)
    )


def transforms(*stamped: Any) -> Any:
    """A tf2_msgs/TFMessage."""
    return TYPESTORE.types[TF](list(stamped))


def open_bag(
    path: Path,
    storage: str = 'mcap',
    compression: str = 'none',
) -> Writer:
    """A bag to write into; compression is 'none', 'file', 'message' or 'storage'."""
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    return writer


def write_bag(
    path: Path,
    count: int,
    storage: str = 'mcap',
    compression: str = 'none',
    kind: str = '',
    size: tuple[int, int] = SIZE,
) -> Path:
    """Write a bag with a camera, its info and labels.

    kind: '' records raw bgr8 images, 'jpeg' or 'png' compressed ones and labels as PNG.
    """
    with open_bag(path, storage, compression) as writer:
        bag = BagRecorder(writer)
        camera = bag.topic(
            '/front/image/compressed' if kind else '/front/image', COMPRESSED if kind else IMAGE
        )
        info = bag.topic('/front/camera_info', INFO)
        truth = bag.topic('/front/labels', COMPRESSED if kind else IMAGE)
        bag.write(info, camera_info(size=size), stamp_ns(0))
        for index in range(count):
            time = stamp_ns(index)
            pixels, values = picture(index, size), labels(index, size)
            if kind:
                bag.write(camera, compressed(pixels, kind, time), time)
                bag.write(truth, compressed(values, 'png', time), time)
            else:
                bag.write(camera, image(pixels, 'bgr8', time), time)
                bag.write(truth, image(values, 'mono8', time), time)
    return path


KEYS = 5
"""Frames from one key frame of a video to the next."""
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    'h264': ('libx264', {'preset': 'ultrafast', 'tune': 'zerolatency'}),
    'h265': ('libx265', {'preset': 'ultrafast', 'x265-params': 'bframes=0:log-level=none'}),
    'vp9': ('libvpx-vp9', {'lag-in-frames': '0', 'deadline': 'realtime', 'crf': '4', 'b': '0'}),
    'av1': ('libsvtav1', {'preset': '12', 'svtav1-params': 'pred-struct=1'}),
}


def packets(codec: str, count: int, keys: int = KEYS, **options: str) -> list[av.Packet]:
    """The frames of `picture` as video, one packet for each in the order of decoding."""
    encoder, usual = _ENCODERS[codec]
    context = av.CodecContext.create(encoder, 'w')
    assert isinstance(context, VideoCodecContext)
    context.height, context.width = SIZE
    context.pix_fmt, context.framerate = 'yuv420p', Fraction(10)
    context.time_base, context.gop_size = Fraction(1, 10), keys
    context.options = {**usual, **options}
    found = []
    for index in range(count):
        shown = av.VideoFrame.from_ndarray(picture(index % 32), 'bgr24')
        shown.pts = index
        found += context.encode(shown)
    return [*found, *context.encode(None)]


def video_message(msgtype: str, codec: str, packet: av.Packet, time: int) -> Any:
    """A packet as a message of CompressedVideo, FFMPEGPacket or CompressedImage."""
    data, head = np.frombuffer(bytes(packet), np.uint8), header(time)
    make = TYPESTORE.types[msgtype]
    if msgtype == VIDEO:
        return make(head.stamp, head.frame_id, data, codec)
    if msgtype == FFMPEG:
        encoder = _ENCODERS[codec][0]
        return make(head, 64, 48, encoder, packet.pts, int(packet.is_keyframe), False, data)
    return make(head, codec, data)


def write_video_bag(
    path: Path,
    packets: list[av.Packet],
    msgtype: str = VIDEO,
    codec: str = 'h264',
    lost: tuple[int, ...] = (),
) -> Path:
    """A bag of a camera's video in the order of decoding; messages `lost` are not in it."""
    with open_bag(path) as writer:
        bag = BagRecorder(writer)
        camera = bag.topic('/front/video', msgtype)
        info = bag.topic('/front/camera_info', INFO)
        truth = bag.topic('/labels', IMAGE)
        bag.write(info, camera_info(), stamp_ns(0))
        for index, packet in enumerate(packets):
            time = stamp_ns(packet.pts if packet.pts is not None else index)
            if index not in lost:
                message = video_message(msgtype, codec, packet, time)
                bag.write(camera, message, stamp_ns(index))
            bag.write(truth, image(labels(index), 'mono8', time), time)
    return path


def swing(stamp_ns: int) -> float:
    """How much higher than usual the vehicle of `write_swinging_bag` stands, m."""
    return 0.1 * ((stamp_ns - START_NS) / 1e9)


def write_swinging_bag(path: Path, count: int) -> Path:
    """Write a bag whose camera is fixed 1.2 m over a chassis that moves in base_link at 20 Hz."""
    optical = (-0.5, 0.5, -0.5, 0.5)
    with open_bag(path) as writer:
        bag = BagRecorder(writer)
        camera, info = bag.topic('/front/image', IMAGE), bag.topic('/front/camera_info', INFO)
        static, moving = bag.topic('/tf_static', TF), bag.topic('/tf', TF)
        fixed = transform('chassis', 'front_optical', (0.0, 0.0, 1.2), optical)
        bag.write(static, transforms(fixed), START_NS)
        bag.write(info, camera_info(), START_NS)
        for index in range(count):
            time = stamp_ns(index)
            bag.write(camera, image(picture(index), 'bgr8', time), time)
        for time in range(START_NS - 10**8, stamp_ns(count) + 10**8, 50_000_000):
            stamped = transform('base_link', 'chassis', (0.0, 0.0, swing(time)))
            stamped.header.stamp.sec, stamped.header.stamp.nanosec = divmod(time, 10**9)
            # A localisation is late.
            bag.write(moving, transforms(stamped), time + 120_000_000)
    return path
