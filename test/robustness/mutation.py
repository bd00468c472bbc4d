# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How each kind of file is spoilt, and the command that reads it."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import math
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import yaml
from onnx import TensorProto, helper
from recordings import labels, picture, write_bag, write_png, write_video
from tiny_segformer import save_tiny

from segformer_ros.classes import load_class_map
from segformer_ros.cli.main import main as segformer
from segformer_ros.engines.cache import EngineCache, EngineKey
from segformer_ros.engines.precision import choose_precision
from segformer_ros.errors import explained
from segformer_ros.model import load_model
from segformer_ros.node.program import check_command_line
from segformer_ros.node.segmentation.parameters import node_parameters
from tiny_models import HUGGINGFACE, OWN, TAO5, TAO6, export_network, save_external_network

SIZE = (32, 64)
KEY = EngineKey('abc', 'tensorrt 10.3.0', 'Orin', 87, 'fp16', '64x32')


class Kind(NamedTuple):
    """One kind of file.

    spoil: writes a spoilt one with what belongs to it into a folder, made of the valid files'
    folder; returns the path to give to `read`. read: has it read; returns the exit code.
    """

    spoil: Callable[[random.Random, Path, Path], Path]
    read: Callable[[Path], int]


def valid_files(folder: Path) -> Path:
    """One valid file of every kind, to be spoilt; returns the folder."""
    folder.mkdir(parents=True)
    for name, export in (('own', OWN), ('tao5', TAO5), ('tao6', TAO6), ('hf', HUGGINGFACE)):
        onnx.save(export_network(SIZE, export), str(folder / f'{name}.onnx'))
    save_tiny(folder / 'tiny.onnx', SIZE)
    (folder / 'outside').mkdir()
    save_external_network(folder / 'outside' / 'external.onnx')
    for index in range(3):
        write_png(folder / 'images' / f'{index}.png', picture(index, SIZE))
        write_png(folder / 'labels' / f'{index}.png', labels(index, SIZE))
    for storage, suffix in (('mcap', 'mcap'), ('sqlite3', 'db3')):
        bag = write_bag(folder / f'bag-{suffix}', 3, storage, size=SIZE)
        shutil.copy(next(bag.glob(f'*.{suffix}')), folder / f'drive.{suffix}')
    write_bag(folder / 'bag-jpeg', 3, compression='message', kind='jpeg', size=SIZE)
    write_video(folder / 'drive.mp4', 6)
    classes = load_class_map('cityscapes')
    (folder / 'classes.yaml').write_text(classes.as_yaml())
    (folder / 'labels.txt').write_text('\n'.join(classes.names))
    (folder / 'sidecar.yaml').write_text(yaml.safe_dump(SIDECAR))
    (folder / 'nvinfer.txt').write_text(NVINFER)
    (folder / 'parameters.yaml').write_text(yaml.safe_dump(PARAMETERS))
    (folder / 'report.json').write_text(json.dumps(REPORT))
    EngineCache(folder / 'cache').load_or_build(KEY, lambda: (bytes(4096), {'build': '3 s'}))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        _evaluate(folder, folder / 'run')
    return folder


SIDECAR = {
    'contract': 'tao6', 'color': 'rgb', 'mean': [1.0, 2.0, 3.0], 'std': [1.0, 2.0, 3.0],
    'fit': 'letterbox', 'size': [32, 64], 'output_name': 'output', 'output_kind': 'logits',
    'output_layout': 'NCHW', 'input_layout': 'NCHW', 'classes': 'cityscapes', 'threshold': 0.3,
    'precision': 'fp16', 'max_batch': 2,
}  # fmt: skip
NVINFER = """[property]
gpu-id=0
net-scale-factor=0.0078431373
offsets=127.5;127.5;127.5
onnx-file=model.onnx
labelfile-path=labels.txt
infer-dims=3;32;64
batch-size=1
network-mode=2
num-detected-classes=19
model-color-format=0
network-type=2
segmentation-threshold=0.0
segmentation-output-order=0
maintain-aspect-ratio=0
output-blob-names=output
[class-attrs-all]
threshold=0.2
"""
PARAMETERS = {
    'segmentation': {
        'ros__parameters': {
            'engine': 'fake', 'camera_topics': ['/front/image'], 'mask_width': 0,
            'mount': {'height': 1.5, 'pitch': 0.1, 'roll': 0.0},
            'drivable': {'max_age': 0.5, 'classes': 'road', 'range': 40.0},
        }
    }
}  # fmt: skip
REPORT = {
    'source': '0' * 64, 'passed': True, 'failures': [], 'fp16': {'passed': False, 'failures': []}
}  # fmt: skip


# --- values and texts


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    tree: Any = []
    for _ in range(depth):
        tree = [tree]
    return tree


NUMBERS = (
    -1, 0, 1, 2, 3, 255, 256, 1000, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30,
    -0.5, 0.5, 1e-320, 1e38, 1e308, math.inf, -math.inf, math.nan,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, '', ' ', 'x', 'x' * 100_000, 'nan', 'inf', '1e999', '-1', '0',
    '1;2', ';;;', '\0', '\x1b[31m', 'a\nb\nc', '../../../../etc/passwd', '/dev/zero', '/dev/full',
    '\u00b2', '\u0663', '\U0001f697', [], {}, [[]], [None], [[[1]]], {'a': None}, {'': ''},
    {1: 2}, nested(40), datetime.date(2001, 2, 3), b'\0\xff', [1] * 5000, ['road'] * 300,
)  # fmt: skip
YAML_BOMBS = (
    'a: &a [x,x,x,x,x,x,x,x,x]\n'
    + '\n'.join(
        f'{name}: &{name} [{",".join(f"*{before}" for _ in range(9))}]'
        for before, name in pairwise('abcdefghij')
    ),
    'a: &a [*a]',
    'a: &a {<<: *a}',
    '&a a: *a',
    'a: ' + '[' * 20_000,
    'a: ' + '{a: ' * 3_000,
    '- ' * 3_000,
    '? ' * 3_000,
    'a: !!timestamp 2001-99-99',
    'a: 2001-99-99',
    'a: !!int x',
    'a: 0x',
    'a: 0b_',
    'a: 1:99:99',
    'a: ' + '9' * 6000,
    'a: !!float .',
    'a: !!binary _',
    'a: !!set {a, b}',
    'a: !!omap [b]',
    'a: !!python/object/apply:os.system [true]',
    '{a: 1}: 2',
    '[a]: 2',
    'a: *nowhere',
    '%YAML 9.9\n---\na: 1',
    '%TAG ! x\n---\na: !b 1',
    '--- a\n--- b',
    '\ufeffa: 1',
    'a: "\\U00110000"',
    'a: "\\ud800"',
    'a: |\n' + ' x\n' * 100_000,
    'classes: [' + '{train_id: 0, name: a},' * 50_000 + ']',
)
JSON_BOMBS = (
    '[' * 100_000,
    '{"a":' * 50_000,
    '1e999',
    'NaN',
    '9' * 6000,
    '"\\ud800"',
    '{"schema": 1, "a": ' + '[' * 5000 + ']' * 5000 + '}',
    '[' + '[],' * 500_000 + '[]]',
    '{}',
    'null',
    '"text"',
)


def spoil_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with a few places changed, cut, doubled, or filled."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not spoilt:
            break
        start = rng.randrange(len(spoilt))
        end = min(len(spoilt), start + rng.choice((1, 1, 2, 4, 8, 100, 5000)))
        what = rng.randrange(7)
        if what == 0:
            spoilt[start] ^= 1 << rng.randrange(8)
        elif what == 1:
            spoilt[start:end] = rng.randbytes(end - start)
        elif what == 2:
            del spoilt[start:end]
        elif what == 3:
            spoilt[start:start] = spoilt[start:end] * rng.choice((1, 3, 50))
        elif what == 4:
            spoilt[start:end] = bytes([rng.choice((0, 255, 128, 127))]) * (end - start)
        elif what == 5 and rng.random() < 0.3:
            del spoilt[start:]
        else:
            number = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
            order: Any = rng.choice(('little', 'big'))
            size = rng.choice((4, 8))
            spoilt[start : start + size] = (number % 256**size).to_bytes(size, order)
    return bytes(spoilt)


def spoil_tree(rng: random.Random, tree: Any) -> Any:
    """A tree of lists and mappings with a few entries changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        what = rng.randrange(8)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[rng.choice((1, None, '', 'x', 'schema', '<<', True, 1.5))] = holder.pop(key)
        elif what == 2 and isinstance(holder, list):
            holder.extend([holder[key]] * rng.choice((1, 300)))
        elif what == 3:
            holder[key] = [holder[key]]
        elif what == 4:
            holder[key] = {'a': holder[key]}
        elif isinstance(holder[key], (int, float)) and what == 5:
            holder[key] = rng.choice(NUMBERS)
        else:
            holder[key] = rng.choice(VALUES)
    return rng.choice(VALUES) if rng.random() < 0.03 else tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    queue = [tree]
    while queue and len(found) < 5000:
        holder = queue.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                queue.append(holder[key])
    return found


def spoil_yaml(rng: random.Random, text: str) -> bytes:
    """A yaml text spoilt as a tree, as a text, or by what blows up."""
    what = rng.random()
    if what < 0.25:
        bomb = rng.choice(YAML_BOMBS)
        return (rng.choice((bomb, f'{text}\n{bomb}', f'{bomb}\n{text}'))).encode(
            errors='surrogatepass'
        )
    if what < 0.45:
        return spoil_bytes(rng, text.encode())
    tree = spoil_tree(rng, yaml.safe_load(text))
    try:
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode()
    except (yaml.YAMLError, TypeError):
        return str(tree).encode()


def spoil_json(rng: random.Random, text: str) -> bytes:
    """A JSON text spoilt in the same ways."""
    what = rng.random()
    if what < 0.15:
        return rng.choice(JSON_BOMBS).encode()
    if what < 0.35:
        return spoil_bytes(rng, text.encode())
    return json.dumps(spoil_tree(rng, json.loads(text)), default=str, skipkeys=True).encode()


def spoil_lines(rng: random.Random, text: str) -> bytes:
    """A text of lines KEY=VALUE spoilt: values, order, whole lines."""
    if rng.random() < 0.2:
        return spoil_bytes(rng, text.encode())
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(lines))
        key, equals, _ = lines[place].partition('=')
        what = rng.randrange(6)
        if what == 0:
            del lines[place]
        elif what == 1:
            lines.insert(place, lines[place])
        elif what == 2:
            lines[place] = str(rng.choice(VALUES))
        else:
            lines[place] = f'{key}{equals}{rng.choice(VALUES)}'
        lines = lines or ['']
    return '\n'.join(lines).encode(errors='surrogatepass')


def write(rng: random.Random, path: Path, data: bytes) -> Path:
    """Write a file, now and then as what is no file at all."""
    if rng.random() > 0.04:
        path.write_bytes(data)
        return path
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    what = rng.randrange(6)
    if what == 0:
        os.mkfifo(path)
    elif what == 1:
        path.mkdir()
    elif what == 2:
        path.symlink_to('/dev/zero')
    elif what == 3:
        path.symlink_to(path.name)
    elif what == 4:
        path.touch()
    else:
        with path.open('wb') as file:
            file.truncate(3 << 30)  # sparse: as large as it likes
    return path


# --- ONNX


def spoil_model(rng: random.Random, valid: Path, folder: Path) -> Path:
    """An ONNX spoilt in its graph, in any field, or in its bytes."""
    path = folder / 'model.onnx'
    name = rng.choice(('own', 'tao5', 'tao6', 'hf', 'tiny'))
    data = (valid / f'{name}.onnx').read_bytes()
    if name in ('tao6', 'hf') and rng.random() < 0.3:
        (folder / 'model.onnx.yaml').write_text('classes: cityscapes\n')
    shutil.copy(valid / 'images' / '1.png', folder / 'image.png')
    what = rng.random()
    if what < 0.15:
        return write(rng, path, spoil_bytes(rng, data))
    model = onnx.load_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if what < 0.55:
            rng.choice(GRAPH_FAULTS)(rng, model)
        else:
            _spoil_field(rng, rng.choice(_messages(model)))
    try:
        data = model.SerializeToString()
    except ValueError:  # a text that is no UTF-8
        data = spoil_bytes(rng, data)
    return write(rng, path, data)


def _node(rng: random.Random, model: Any) -> Any:
    return rng.choice(model.graph.node) if model.graph.node else model.graph.node.add()


def _cycle(rng: random.Random, model: Any) -> None:
    node = _node(rng, model)
    later = _node(rng, model)
    if node.input and later.output:
        node.input[rng.randrange(len(node.input))] = later.output[0]


def _turn_round(rng: random.Random, model: Any) -> None:
    """A circle of steps that keep the classes, in front of the output."""
    output = model.graph.output[0].name if model.graph.output else 'x'
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = 'before'
    op = rng.choice(('Identity', 'Cast', 'Softmax', 'Transpose'))
    model.graph.node.append(helper.make_node(op, ['there'], [output]))
    model.graph.node.append(helper.make_node(op, [output], ['there']))


def _no_ends(rng: random.Random, model: Any) -> None:
    node = _node(rng, model)
    del rng.choice((node.input, node.output, node.attribute))[:]


def _odd_dims(rng: random.Random, model: Any) -> None:
    values = [*model.graph.input, *model.graph.output]
    if not values:
        return
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    what = rng.randrange(4)
    if what == 0:
        del dims[rng.randrange(len(dims) + 1) :]
    elif what == 1:
        dims.add().dim_value = rng.choice((-1, 0, 3, 2**62))
    elif dims:
        odd = (-(2**63), -1, 0, 1, 3, 5, 31, 300, 65536, 2**20, 2**31, 2**62)
        dims[rng.randrange(len(dims))].dim_value = rng.choice(odd)
    if what == 3:
        value.type.tensor_type.elem_type = rng.choice((-1, 0, 8, 10, 16, 99, 2**31 - 1))


def _huge_claim(rng: random.Random, model: Any) -> None:
    tensor = rng.choice(model.graph.initializer) if model.graph.initializer else None
    if tensor is not None:
        del tensor.dims[rng.randrange(len(tensor.dims) + 1) :]
        tensor.dims.append(rng.choice((-1, 0, 2**31, 2**40, 2**62)))
        if rng.random() < 0.5:
            tensor.dims.append(rng.choice((-1, 0, 19, 2**40)))


def _odd_tensor(rng: random.Random, model: Any) -> None:
    for tensor in model.graph.initializer:
        if rng.random() < 0.5:
            tensor.data_type = rng.choice((-1, 0, 1, 7, 8, 10, 16, 17, 23, 99))
        if rng.random() < 0.3:
            tensor.raw_data = rng.choice((b'', b'\0', b'\xff' * len(tensor.raw_data)))


def _not_a_number(rng: random.Random, model: Any) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            odd = rng.choice((math.nan, math.inf, -math.inf, 3e38))
            tensor.raw_data = struct.pack('<f', odd) * (len(tensor.raw_data) // 4)


def _deep(rng: random.Random, model: Any) -> None:
    graph = helper.make_graph([helper.make_node('Identity', ['image'], ['y'])], 'inner', [], [])
    for level in range(rng.choice((3, 20, 30, 200))):
        try:
            node = helper.make_node('If', ['image'], [f'y{level}'], then_branch=graph)
            graph = helper.make_graph([node], 'outer', [], [])
            graph.SerializeToString()
        except Exception:  # deeper than protobuf itself goes
            break
    model.graph.node.extend(graph.node)


def _functions(rng: random.Random, model: Any) -> None:
    for name, other in (('f', 'g'), ('g', 'f')):
        node = helper.make_node(other, ['x'], ['y'], domain='own')
        model.functions.append(
            helper.make_function(
                'own', name, ['x'], ['y'], [node], [helper.make_opsetid('own', 1)]
            )
        )
    model.opset_import.append(helper.make_opsetid('own', 1))
    if rng.random() < 0.7 and model.graph.node:
        model.graph.node[-1].op_type, model.graph.node[-1].domain = 'f', 'own'


def _outside(rng: random.Random, model: Any) -> None:
    for tensor in model.graph.initializer:
        tensor.ClearField('raw_data')
        tensor.data_location = TensorProto.EXTERNAL
        where = rng.choice(
            ('/etc/passwd', '/dev/zero', '../valid/own.onnx', 'model.onnx', '.', '', 'none', 'a\0')
        )
        for key, value in (
            ('location', where),
            ('offset', rng.choice(('0', '-1', '1e3', 'x', '9' * 5000, str(2**63)))),
            ('length', rng.choice(('5700', '-1', '', '9' * 30, '0x10'))),
        ):
            if rng.random() < 0.8:
                tensor.external_data.add(key=key, value=value)


def _props(rng: random.Random, model: Any) -> None:
    sizes = ('', 'x', '0x0', '32x', '1000000x1000000', '9' * 5000 + 'x32', '\u00b2x\u00b2', '-1x2')
    for entry in model.metadata_props:
        if rng.random() < 0.5:
            entry.value = rng.choice((*sizes, 'cityscapes', '../x', '/dev/zero', 'x' * 100_000))


def _many(rng: random.Random, model: Any) -> None:
    what = rng.randrange(3)
    if what == 0:
        for _ in range(20_000):
            model.graph.node.add()
    elif what == 1:
        last = 'image'
        for index in range(20_000):
            model.graph.node.append(helper.make_node('Identity', [last], [f'n{index}']))
            last = f'n{index}'
    else:
        model.graph.input.extend([model.graph.input[0]] * 2000)


def _order(rng: random.Random, model: Any) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _op(rng: random.Random, model: Any) -> None:
    ops = ('Conv', 'ReduceMean', 'LayerNormalization', 'QuantizeLinear', 'Constant', 'Resize',
           'Loop', 'If', 'Scan', 'Identity', '', 'x' * 5000, 'ConvTranspose', 'Pow')  # fmt: skip
    _node(rng, model).op_type = rng.choice(ops)


def _bomb(rng: random.Random, model: Any) -> None:
    """A node that asks for a tensor of gigabytes."""
    if not model.graph.output:
        return
    output, size = model.graph.output[0].name, rng.choice((2**28, 2**31, 2**40, -1))
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = 'small'
    operator = rng.choice(('ConstantOfShape', 'Expand', 'Tile'))
    shape = helper.make_tensor('bomb', TensorProto.INT64, [1], [size])
    one = helper.make_tensor('one', TensorProto.FLOAT, [1], [1.0])
    model.graph.initializer.extend([shape, one])
    inputs = ['bomb'] if operator == 'ConstantOfShape' else ['one', 'bomb']
    model.graph.node.append(helper.make_node(operator, inputs, ['huge']))
    model.graph.node.append(helper.make_node('ReduceMean', ['huge'], ['mean'], axes=[0]))
    model.graph.node.append(helper.make_node('Add', ['small', 'mean'], [output]))


GRAPH_FAULTS: tuple[Callable[[random.Random, Any], None], ...] = (
    _cycle, _turn_round, _no_ends, _odd_dims, _huge_claim, _odd_tensor, _not_a_number, _deep,
    _functions, _outside, _props, _many, _order, _op, _bomb,
)  # fmt: skip


def _messages(message: Any) -> list[Any]:
    found: list[Any] = []
    queue = [message]
    while queue and len(found) < 2000:
        current = queue.pop()
        found.append(current)
        for field, value in current.ListFields():
            if field.message_type is not None:
                queue += list(value) if _repeated(field) else [value]
    return found


def _repeated(field: Any) -> bool:
    repeated = getattr(field, 'is_repeated', None)  # of newer versions of protobuf
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _spoil_field(rng: random.Random, message: Any) -> None:
    """Change any field of a message to what it should not be."""
    field = rng.choice(message.DESCRIPTOR.fields)
    name = field.name
    if rng.random() < 0.25:
        message.ClearField(name)
        return
    if field.message_type is not None:
        if _repeated(field):
            many = getattr(message, name)
            if many and rng.random() < 0.5:
                del many[rng.randrange(len(many))]
            elif many:
                many.add().CopyFrom(rng.choice(list(many)))
            else:
                many.add()
        else:
            getattr(message, name).SetInParent()
        return
    with contextlib.suppress(ValueError, TypeError):
        value = rng.choice(_SCALARS[field.cpp_type])
        if _repeated(field):
            many = getattr(message, name)
            if many and rng.random() < 0.6:
                many[rng.randrange(len(many))] = value
            else:
                many.extend([value] * rng.choice((1, 3)))
        else:
            setattr(message, name, value)


_WHOLE = (-1, 0, 1, 2, 7, 13, 255, 2**31 - 1, 2**62, -(2**31), -(2**63))
_TEXTS = ('', 'x', 'image', 'logits', '../..', '/etc/passwd', 'x' * 5000, '\0', '\x1b[31m')
_SCALARS: dict[int, tuple[Any, ...]] = {
    1: _WHOLE, 2: _WHOLE, 3: (0, 1, 2**32 - 1), 4: (0, 1, 2**64 - 1),
    5: NUMBERS, 6: NUMBERS, 7: (True, False), 8: (0, 1, 2, 6, 99), 9: _TEXTS,
}  # fmt: skip
"""By protobuf's number of the C++ type."""


# --- the other kinds


def _beside_model(valid: Path, folder: Path, name: str = 'tao6') -> Path:
    shutil.copy(valid / 'images' / '1.png', folder / 'image.png')
    return Path(shutil.copy(valid / f'{name}.onnx', folder / 'model.onnx'))


def _spoil_sidecar(rng: random.Random, valid: Path, folder: Path) -> Path:
    model = _beside_model(valid, folder)
    if rng.random() < 0.3:
        model = model.rename(folder / 'model.engine')
    text = (valid / 'sidecar.yaml').read_text()
    write(rng, folder / f'{model.name}.yaml', spoil_yaml(rng, text))
    return model


def _spoil_classes(rng: random.Random, valid: Path, folder: Path) -> Path:
    _beside_model(valid, folder)
    return write(
        rng, folder / 'classes.yaml', spoil_yaml(rng, (valid / 'classes.yaml').read_text())
    )


def _spoil_labels(rng: random.Random, valid: Path, folder: Path) -> Path:
    _beside_model(valid, folder)
    text = (valid / 'labels.txt').read_text()
    return write(rng, folder / 'labels.txt', spoil_lines(rng, text))


def _spoil_deepstream(rng: random.Random, valid: Path, folder: Path) -> Path:
    _beside_model(valid, folder)
    shutil.copy(valid / 'labels.txt', folder)
    text = (valid / 'nvinfer.txt').read_text()
    if rng.random() < 0.7:
        return write(rng, folder / 'nvinfer.txt', spoil_lines(rng, text))
    lines = (line.split('=') for line in text.splitlines() if '=' in line)
    tree = {'property': dict(lines)}
    return write(rng, folder / 'nvinfer.yaml', spoil_yaml(rng, yaml.safe_dump(tree)))


def _spoil_report(rng: random.Random, valid: Path, folder: Path) -> Path:
    model = _beside_model(valid, folder)
    text = (valid / 'report.json').read_text()
    write(rng, folder / 'model.int8.json', spoil_json(rng, text))
    return model


def _spoil_cache(rng: random.Random, valid: Path, folder: Path) -> Path:
    data = (valid / 'cache' / KEY.file_name).read_bytes()
    if rng.random() < 0.5:
        length = int.from_bytes(data[8:12], 'little')
        header = spoil_json(rng, data[12 : 12 + length].decode())
        data = data[:8] + len(header).to_bytes(4, 'little') + header + data[12 + length :]
    else:
        data = spoil_bytes(rng, data)
    (folder / 'cache').mkdir(mode=0o700)
    path = write(rng, folder / 'cache' / KEY.file_name, data)
    if path.is_file() and not path.is_symlink():
        path.chmod(0o600)
    return folder / 'cache'


def _spoil_bag(rng: random.Random, valid: Path, folder: Path) -> Path:
    name = rng.choice(('bag-mcap', 'bag-db3', 'bag-jpeg'))
    bag = Path(shutil.copytree(valid / name, folder / 'bag'))
    metadata = bag / 'metadata.yaml'
    write(rng, metadata, spoil_yaml(rng, metadata.read_text()))
    return bag


def _spoil_binary(name: str) -> Callable[[random.Random, Path, Path], Path]:
    def spoil(rng: random.Random, valid: Path, folder: Path) -> Path:
        return write(rng, folder / name, spoil_bytes(rng, (valid / name).read_bytes()))

    return spoil


def _spoil_metrics(rng: random.Random, valid: Path, folder: Path) -> Path:
    run = Path(shutil.copytree(valid / 'run', folder / 'run'))
    for name in ('images', 'labels'):
        shutil.copytree(valid / name, folder / name)
    shutil.copytree(valid / 'run', folder / 'other')
    metrics = run / 'metrics.json'
    write(rng, metrics, spoil_json(rng, metrics.read_text()))
    return run


def _spoil_tables(rng: random.Random, valid: Path, folder: Path) -> Path:
    run = Path(shutil.copytree(valid / 'run', folder / 'run'))
    shutil.copytree(valid / 'run', folder / 'other')
    if rng.random() < 0.5:
        matrices = run / 'confusion.npy'
        data = matrices.read_bytes()
        if rng.random() < 0.6:
            start, end = 10, data.index(b'\n')
            header = spoil_header(rng, data[start:end])
            data = data[:8] + len(header).to_bytes(2, 'little') + header + data[end:]
        else:
            data = spoil_bytes(rng, data)
        write(rng, matrices, data)
    else:
        frames = run / 'frames.csv'
        lines = frames.read_text().splitlines()
        place = rng.randrange(len(lines))
        cells = lines[place].split(',')
        cells[rng.randrange(len(cells))] = str(rng.choice(VALUES))
        lines[place] = ','.join(cells[: rng.choice((100, 100, 5, 1))])
        data = '\n'.join(lines).encode(errors='surrogatepass')
        write(rng, frames, spoil_bytes(rng, data) if rng.random() < 0.3 else data)
    return run


def spoil_header(rng: random.Random, header: bytes) -> bytes:
    """The header of an .npy file with another type or shape."""
    text = header.decode()
    types = ('|O', '<f8', '<c16', '|S9', '<U9', '<M8[s]', 'x', '|V8', '<u8', '<i4', '|b1')
    shapes = ('()', '(3,)', '(0, 0, 0)', '(-1, 19, 20)', '(3, 10**9, 20)', '(99999999, 19, 20)',
              '(3, 19, 19)', '(' * 200, '(3.5, 19, 20)', "('a',)", '(True, 19, 20)')  # fmt: skip
    if rng.random() < 0.5:
        return text.replace('<u4', rng.choice(types)).encode()
    start, end = text.index("'shape': ") + 9, text.index(')') + 1
    return (text[:start] + rng.choice(shapes) + text[end:]).encode()


def _spoil_parameters(rng: random.Random, valid: Path, folder: Path) -> Path:
    text = (valid / 'parameters.yaml').read_text()
    return write(rng, folder / 'parameters.yaml', spoil_yaml(rng, text))


def _spoil_pictures(which: str) -> Callable[[random.Random, Path, Path], Path]:
    def spoil(rng: random.Random, valid: Path, folder: Path) -> Path:
        for name in ('images', 'labels'):
            shutil.copytree(valid / name, folder / name)
        target = folder / which / '1.png'
        data = target.read_bytes()
        if rng.random() < 0.3:  # a size that is only claimed
            start = 16 + 4 * rng.randrange(2)
            claim = rng.choice((0, 1, 2**15, 2**16, 2**20, 2**31 - 1))
            data = data[:start] + claim.to_bytes(4, 'big') + data[start + 4 :]
            data = data[:29] + zlib.crc32(data[12:29]).to_bytes(4, 'big') + data[33:]
        else:
            data = spoil_bytes(rng, data)
        write(rng, target, data)
        return folder

    return spoil


# --- what reads them


def _inspect(path: Path, *arguments: str) -> int:
    """Say what a model is, and where that goes well have it segment an image and be prepared."""
    code = segformer(['inspect', str(path), *arguments])
    image = path.parent / 'image.png'
    if code or not image.exists() or path.suffix == '.engine':
        return code
    options = ['--image', str(image), '--engine', 'openvino', '--threads', '1', *arguments]
    code = segformer(['inspect', str(path), '--out', 'picture.png', *options])
    if code == 2:
        return code
    return segformer(['build', str(path), '--onnx', 'made.onnx', '--precision', 'fp32'])


def _with_classes(path: Path) -> int:
    return _inspect(path.parent / 'model.onnx', '--classes', str(path))


def _choose(path: Path) -> int:
    def choose() -> int:
        choose_precision('auto', load_model(path), 86)
        return 0

    return explained('segformer build', choose)


def _load_cached(folder: Path) -> int:
    cache = EngineCache(folder)
    cache.load(KEY)
    cache.load_or_build(KEY, lambda: (bytes(4096), {}))
    return 0


def _segment(path: Path) -> int:
    return segformer(['segment', str(path), '--engine', 'fake', '--out', 'out'])


def _evaluate(folder: Path, out: Path, *arguments: str) -> int:
    return segformer(
        ['evaluate', str(folder / 'images'), '--labels', str(folder / 'labels')]
        + ['--engine', 'fake', '--out', str(out), *arguments]
    )


def _compare(run: Path) -> int:
    code = segformer(['compare', str(run.parent / 'other'), str(run)])
    return code or segformer(['compare', str(run), str(run)])


def _compare_and_gate(run: Path) -> int:
    code = segformer(['compare', str(run.parent / 'other'), str(run)])
    gates = ['--baseline', str(run), '--max-drop', 'miou=0.9,iou.road=0.9']
    return code or _evaluate(run.parent, Path('evaluated'), *gates)


def _check_parameters(path: Path) -> int:
    def check() -> int:
        check_command_line(['--params-file', str(path)], 'segmentation', node_parameters())
        return 0

    return explained('segformer segmentation', check)


KINDS: dict[str, Kind] = {
    'model': Kind(spoil_model, _inspect),
    'sidecar': Kind(_spoil_sidecar, _inspect),
    'classes': Kind(_spoil_classes, _with_classes),
    'labels': Kind(_spoil_labels, _with_classes),
    'deepstream': Kind(_spoil_deepstream, _inspect),
    'report': Kind(_spoil_report, _choose),
    'cache': Kind(_spoil_cache, _load_cached),
    'bag': Kind(_spoil_bag, _segment),
    'mcap': Kind(_spoil_binary('drive.mcap'), _segment),
    'db3': Kind(_spoil_binary('drive.db3'), _segment),
    'metrics': Kind(_spoil_metrics, _compare_and_gate),
    'tables': Kind(_spoil_tables, _compare),
    'parameters': Kind(_spoil_parameters, _check_parameters),
    'label images': Kind(_spoil_pictures('labels'), lambda path: _evaluate(path, Path('out'))),
    'images': Kind(_spoil_pictures('images'), lambda path: _evaluate(path, Path('out'))),
    'video': Kind(_spoil_binary('drive.mp4'), _segment),
}
"""Kinds by name; models are by far the most manifold, see `spoil_model`."""
