# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The package beside what is usually written: a frame in, mask and overlay messages out.

    ./run bench --peers
    ./run bench --peers --input 1024x512 --rounds 20

Four ways take turns on the same frames, with the same weights (the bundled network's) and the
same number of threads, so that a busy machine slows all of them alike:

    transformers    its processor, torch, logits upsampled, argmax, colours: the usual pipeline
    onnxruntime     what a node of rclpy and ONNX Runtime does in its callback, written with care
    segformer_ros   the engine, labels and overlay of this package's node
    inference       the network alone, in OpenVINO: what no node can go below

Each but the last takes an Image message and fills two; none publishes them, which costs all the
same. Frames are stretched to the input, as the first two have it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from sensor_msgs.msg import Image
from tqdm import tqdm
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers import SegformerImageProcessorPil as Processor

from segformer_ros.cli.arguments import size, whole
from segformer_ros.drawing.overlay import blend
from segformer_ros.engines import EngineOptions, create_engine
from segformer_ros.engines.engine import Wanted
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, bundled_model, load_model
from segformer_ros.node.messages import ImageBuffer
from segformer_ros.text_table import format_table
from tools.benchmarks.exports import HUGGINGFACE, save_reexport
from tools.benchmarks.stages import bare_inference, street_scenes
from tools.training.model import SegFormer, create_model
from tools.training.warm_start import read_weights

OURS = 'segformer_ros'
OPACITY = 0.5

Messages = tuple[Image, Image]
Way = Callable[[Image], Messages]
"""An image in bgr8 to its mask in mono8 and its overlay in bgr8."""

BLOCK = {
    'layernorm_before': 'attention_norm',
    'attention.q_proj': 'attention.query',
    'attention.o_proj': 'attention.projection',
    'attention.sequence_reduction.sequence_reduction': 'attention.reduce',
    'attention.sequence_reduction.layer_norm': 'attention.reduce_norm',
    'layernorm_after': 'mlp_norm',
    'mlp.fc1': 'mlp.expand',
    'mlp.dwconv.dwconv': 'mlp.depthwise',
    'mlp.fc2': 'mlp.contract',
}
"""Layers of a block by their names in transformers and here."""


def huggingface_model() -> Any:
    """The bundled network as transformers' own module, numbers and all."""
    network = create_model('b0')
    config = network.config
    model = SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=config.classes,
            hidden_sizes=list(config.dims),
            depths=list(config.depths),
            decoder_hidden_size=config.decoder,
        )
    )
    with torch.no_grad():
        _take_encoder(model, network)
        _take_decoder(model)
    return model.eval()


def _take_encoder(model: Any, network: SegFormer) -> None:
    weights = read_weights(bundled_model(), network)
    for i, depth in enumerate(network.config.depths):
        stage = model.segformer.stages[i]
        pairs = {
            f'encoder.embeddings.{i}.projection': stage.patch_embeddings.proj,
            f'encoder.embeddings.{i}.norm': stage.patch_embeddings.layer_norm,
            f'encoder.norms.{i}': stage.layer_norm,
        }
        for j in range(depth):
            block, prefix = stage.blocks[j], f'encoder.stages.{i}.{j}'
            for theirs, ours in BLOCK.items():
                if f'{prefix}.{ours}.weight' in weights:
                    pairs[f'{prefix}.{ours}'] = block.get_submodule(theirs)
            for part in ('weight', 'bias'):  # keys and values are one layer here
                both = weights[f'{prefix}.attention.key_value.{part}'].chunk(2)
                getattr(block.attention.k_proj, part).copy_(both[0])
                getattr(block.attention.v_proj, part).copy_(both[1])
        for name, layer in pairs.items():
            layer.weight.copy_(weights[f'{name}.weight'])
            layer.bias.copy_(weights[f'{name}.bias'])


def _take_decoder(model: Any) -> None:
    """The file has projection, fusion and batch norm of each scale in one convolution."""
    graph = onnx.load(str(bundled_model())).graph
    arrays = {
        entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy())
        for entry in graph.initializer
        if entry.name.startswith('decoder.')
    }
    head = model.decode_head
    width = len(head.batch_norm.weight)
    for i, linear in enumerate(head.linear_projections):
        linear.proj.weight.copy_(arrays[f'decoder.projections.{i}.weight'][:, :, 0, 0])
        linear.proj.bias.zero_()
    head.linear_projections[0].proj.bias.copy_(arrays['decoder.projections.0.bias'])
    head.linear_fuse.weight.copy_(torch.eye(width).repeat(1, 4)[:, :, None, None])  # the sum
    head.batch_norm.running_var.fill_(1.0 - head.batch_norm.eps)  # changes nothing
    head.classifier.weight.copy_(arrays['decoder.classifier.weight'])
    head.classifier.bias.copy_(arrays['decoder.classifier.bias'])


def image_message(pixels: np.ndarray, encoding: str) -> Image:
    """Fill an Image with (H, W) or (H, W, 3) uint8, as cv_bridge does."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=pixels[0].nbytes)
    message.data = array('B')
    message.data.frombytes(pixels.tobytes())
    return message


def _pixels(message: Image) -> np.ndarray:
    shape = (message.height, message.width, -1)
    return np.frombuffer(message.data, np.uint8).reshape(shape).squeeze()


def _messages(bgr: np.ndarray, labels: np.ndarray, palette: np.ndarray) -> Messages:
    """Colours over the image, and both as messages."""
    overlay = cv2.addWeighted(bgr, 1 - OPACITY, palette[labels], OPACITY, 0.0)
    return image_message(labels, 'mono8'), image_message(overlay, 'bgr8')


def transformers_way(spec: ModelSpec, threads: int) -> Way:
    """The usual pipeline, as a callback."""
    torch.set_num_threads(threads)
    height, width = spec.size
    processor = Processor(size={'height': height, 'width': width})
    model, palette = huggingface_model(), spec.class_map.palette_bgr

    def segment(message: Image) -> Messages:
        bgr = _pixels(message)
        inputs = processor(images=np.ascontiguousarray(bgr[..., ::-1]), return_tensors='pt')
        with torch.inference_mode():
            outputs = model(**inputs)
        sizes = [bgr.shape[:2]]
        labels = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)[0]
        return _messages(bgr, labels.numpy().astype(np.uint8), palette)

    return segment


def onnxruntime_way(spec: ModelSpec, threads: int) -> Way:
    """A plain node's callback: OpenCV and NumPy around ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of the file, it warns of weights that no node uses
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(spec.path), options, providers=['CPUExecutionProvider']
    )
    height, width = spec.size
    palette = spec.class_map.palette_bgr
    mean, std = (np.array(values, np.float32) for values in (HUGGINGFACE.mean, HUGGINGFACE.std))

    def segment(message: Image) -> Messages:
        bgr = _pixels(message)
        small = cv2.cvtColor(cv2.resize(bgr, (width, height)), cv2.COLOR_BGR2RGB)
        pixels = ((small - mean) / std).transpose(2, 0, 1)[None]  # (1, 3, h, w)
        logits = session.run(None, {spec.input_name: np.ascontiguousarray(pixels)})[0][0]
        cells = np.ascontiguousarray(logits.transpose(1, 2, 0))  # (h/4, w/4, C)
        upsampled = cv2.resize(cells, bgr.shape[1::-1])  # (H, W, C)
        return _messages(bgr, upsampled.argmax(axis=-1).astype(np.uint8), palette)

    return segment


def own_way(spec: ModelSpec, threads: int, stack: ExitStack) -> Way:
    """The node's engine, labels and overlay, in the node's buffers."""
    engine = stack.enter_context(
        create_engine(spec, 'openvino', EngineOptions(threads=threads, precision='fp32'))
    )
    mask, overlay = ImageBuffer('mono8'), ImageBuffer('bgr8')

    def segment(message: Image) -> Messages:
        frame = Frame.from_image(message)
        labels = engine.segment([frame], Wanted())[0].labels
        pixels = overlay.resize(frame.height, frame.width)
        blend(frame.bgr(), labels, spec.class_map.palette_bgr, OPACITY, out=pixels)
        return mask.filled(labels, message.header), overlay.stamped(message.header)

    return segment


def measure(
    ways: dict[str, Way], bare: Callable[[], object], frames: list[Image], rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds of each way, round by round; per cent of pixels as this package has them."""
    times: dict[str, list[float]] = defaultdict(list)
    equal: dict[str, list[float]] = defaultdict(list)
    for index in tqdm(range(-2, rounds), unit='round', leave=False):
        labels = {}
        for name, way in ways.items():
            start = perf_counter()
            mask = way(frames[index % len(frames)])[0]
            if index >= 0:  # the first ones warm up
                times[name].append((perf_counter() - start) * 1e3)
            labels[name] = _pixels(mask)
        start = perf_counter()
        bare()
        if index >= 0:
            times['inference'].append((perf_counter() - start) * 1e3)
        for name, found in labels.items():
            equal[name].append(100 * float((found == labels[OURS]).mean()))
    return times, {name: statistics.mean(shares) for name, shares in equal.items()}


def report(times: dict[str, list[float]], equal: dict[str, float]) -> str:
    """Medians, how many times this package's (the median of the rounds), and equality of masks."""
    rows = []
    for name, values in times.items():
        ratio = statistics.median(v / ours for v, ours in zip(values, times[OURS], strict=True))
        agreement = f'{equal[name]:.3f}' if name in equal else '-'
        rows.append((name, f'{statistics.median(values):.1f}', f'{ratio:.2f}', agreement))
    header = ('', 'median ms', f'times {OURS}', '% of pixels equal')
    return format_table(header, rows)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='./run bench --peers', description=__doc__.splitlines()[0]
    )
    parser.add_argument('--input', type=size, metavar='WxH', help='of the network')
    parser.add_argument('--size', type=size, metavar='WxH', default=(1080, 1920), help='of frames')
    parser.add_argument('--threads', type=whole(1), default=2)
    parser.add_argument('--rounds', type=whole(1), default=15)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    network = options.input or load_model('').size
    frames = [image_message(scene.frame.bgr(), 'bgr8') for scene in street_scenes(*options.size)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        spec = load_model(save_reexport(Path(folder, 'peers.onnx'), network, HUGGINGFACE))
        ways = {
            'transformers': transformers_way(spec, options.threads),
            'onnxruntime': onnxruntime_way(spec, options.threads),
            OURS: own_way(spec, options.threads, stack),
        }
        bare = bare_inference(spec, options.threads)
        times, equal = measure(ways, bare, frames, options.rounds)
    height, width = options.size
    print(
        f'{width}x{height} bgr8, bundled network at {spec.size_in_words}, '
        f'{options.threads} threads, load {os.getloadavg()[0]:.1f}\n'
    )
    print(report(times, equal))
    return 0


if __name__ == '__main__':
    sys.exit(main())
