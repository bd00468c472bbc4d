"""What `kernels.cu` declares, read from its text: structs, constants and kernels' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np

KERNELS = Path(__file__).with_name('kernels.cu')

_COMMENT = re.compile(r'//.*')
_CONSTANT = re.compile(r'^ +([A-Z_]+) = (\d+),', re.MULTILINE)
_KERNEL = re.compile(r'^KERNEL (\w+)\(', re.MULTILINE)
_STRUCT = re.compile(r'^struct (\w+) \{([^{}]*)\};', re.MULTILINE)
_DECLARATION = re.compile(r'\s*(?:const )?(\w+) (.+)', re.DOTALL)
_FIELD = re.compile(r'(\*?)(\w+)(?:\[(\w+)\])?')
_TYPES = {'int': np.int32, 'unsigned': np.uint32, 'float': np.float32}


def read_constants(source: str) -> Dict[str, int]:
    """The enumerated constants of a kernel source."""
    return {name: int(value) for name, value in _CONSTANT.findall(source)}


def read_kernels(source: str) -> Tuple[str, ...]:
    """The names of the kernels in a kernel source."""
    return tuple(_KERNEL.findall(source))


def read_structs(source: str) -> Dict[str, np.dtype]:
    """The structs of a kernel source, laid out as C does; pointers are 64 bit numbers."""
    constants = read_constants(source)
    structs: Dict[str, np.dtype] = {}
    for name, body in _STRUCT.findall(_COMMENT.sub('', source)):
        fields = [
            field
            for declaration in body.split(';')
            if declaration.strip()
            for field in _fields(declaration, structs, constants)
        ]
        structs[name] = np.dtype(fields, align=True)
    return structs


def _fields(
    declaration: str, structs: Dict[str, np.dtype], constants: Dict[str, int]
) -> Iterator[Tuple[Any, ...]]:
    """The fields of one declaration such as 'const byte *a' or 'int b, c[3]'."""
    match = _DECLARATION.match(declaration)
    assert match, declaration
    kind, names = match.groups()
    for pointer, name, count in _FIELD.findall(names):
        dtype = np.uint64 if pointer else _TYPES.get(kind) or structs[kind]
        length = (constants.get(count) or int(count),) if count else ()
        yield (name, dtype, *length)


_SOURCE = KERNELS.read_text(encoding='utf-8')
CONSTANTS = read_constants(_SOURCE)
KERNEL_NAMES = read_kernels(_SOURCE)
STRUCTS = read_structs(_SOURCE)
