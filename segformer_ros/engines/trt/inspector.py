"""Reading back what was built: the type that each layer really computes in."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from segformer_ros.engines.base import EngineError

# How the inspectors name a type: 'Row major linear FP16 format', 'Row major Int8 format', 'Half'.
_TYPES: Tuple[Tuple[str, str], ...] = (
    (r'\bint8\b', 'int8'),
    (r'\b(fp16|half)\b', 'fp16'),
    (r'\b(bf16|bfloat16)\b', 'bf16'),
    (r'\b(tf32)\b', 'tf32'),
    (r'\b(fp8|fp8e4m3)\b', 'fp8'),
    (r'\b(fp32|float)\b', 'fp32'),
    (r'\b(int32|int64|bool|uint8)\b', 'integer'),
)

# Layers that move or hold data and compute nothing.
_IDLE = re.compile(
    r'reformat|copy|move|constant|shape|noop|signal|wait|shuffle|cast|identity|slice',
    re.IGNORECASE,
)

_BUILD_LAYER = re.compile(r'Name: (?P<name>[^,]*), LayerType: (?P<type>[^,]*), (?P<rest>[^\n]*)')
_BUILD_TYPE = re.compile(r'Datatype: (\w+)')


class Layer(NamedTuple):
    """One layer of an engine: name, kind, and the narrowest type of its inputs and outputs."""

    name: str
    kind: str
    precision: str


class Layers(NamedTuple):
    """The computing layers of an engine."""

    layers: Tuple[Layer, ...]

    def count(self, precision: str) -> int:
        """How many compute in a precision."""
        return sum(layer.precision == precision for layer in self.layers)

    def summary(self) -> str:
        """Layers per type, '41 fp16, 3 fp32'."""
        kinds = sorted({layer.precision for layer in self.layers})
        return ', '.join(f'{self.count(kind)} {kind}' for kind in kinds) or 'not told'

    def check(self, precision: str) -> None:
        """Raise EngineError where the engine silently computes in a wider type than was asked.

        Where a version folds the network into one node ("foreign node"), that node's own inputs
        and outputs are all that can be seen.
        """
        if not self.layers:
            return
        if self.count('tf32'):
            raise EngineError(f'the engine computes in TF32, unasked: {self.summary()}')
        if precision != 'fp32' and not self.count(precision):
            raise EngineError(
                f'{precision} was asked for, but the engine built has no such layer '
                f'({self.summary()}); this GPU or TensorRT does not support it, use another '
                'precision'
            )


def read_inspector(text: Optional[str]) -> Layers:
    """Layers from the engine inspector's JSON; none where it gives names alone, or nothing."""
    if not text:
        return Layers(())
    try:
        entries = json.loads(text)['Layers']
    except (ValueError, KeyError, TypeError):
        return Layers(())
    found = (_from_json(entry) for entry in entries if isinstance(entry, dict))
    return Layers(tuple(layer for layer in found if layer))


def read_build_log(text: str) -> Layers:
    """Layers from what TensorRT-RTX logs at the end of a build."""
    return Layers(tuple(_from_log(text)))


def _from_json(entry: Dict[str, Any]) -> Optional[Layer]:
    kind = str(entry.get('LayerType', ''))
    if _IDLE.search(kind):
        return None
    tensors = [*entry.get('Inputs', ()), *entry.get('Outputs', ())]
    described = [str(one.get('Format/Datatype', one.get('Datatype', ''))) for one in tensors]
    precision = _narrowest(described)
    return Layer(str(entry.get('Name', '')), kind, precision) if precision else None


def _from_log(text: str) -> Iterator[Layer]:
    for match in _BUILD_LAYER.finditer(text):
        precision = _narrowest(_BUILD_TYPE.findall(match['rest']))
        if precision and not _IDLE.search(match['type']):
            yield Layer(match['name'], match['type'], precision)


def _narrowest(described: List[str]) -> str:
    """The first of the types, from narrow to wide, that is among those described; '' for none.

    A quantised layer reads INT8 and may write FP16, so its narrow side says what it computes in.
    """
    joined = ' ; '.join(described).lower()
    return next((name for words, name in _TYPES if re.search(words, joined)), '')
