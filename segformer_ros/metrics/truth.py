"""Truth in the classes of the model: brought there by name, or refused."""

from __future__ import annotations

from typing import Optional

import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.metrics.base import MetricError

_NAMED = 6
"""Classes that an error names."""


def truth_table(truth: ClassMap, model: ClassMap, whose: str) -> Optional[np.ndarray]:
    """(256,) uint8 from a truth's values to the model's train ids; None where they are the same.

    Classes are matched by name, in any order. Values that are no class stay as they are. Raises
    MetricError where the names differ; whose: of what the truth is, for the message.
    """
    if truth.names == model.names or _is_nameless(truth, len(model)):
        return None
    different = sorted(set(truth.names) ^ set(model.names))
    if different:
        named = ', '.join(different[:_NAMED]) + ', ...' * (len(different) > _NAMED)
        raise MetricError(
            f'{whose} has the classes of {truth.name!r} ({len(truth)}), the model those of '
            f'{model.name!r} ({len(model)}); in one of them alone: {named}. Give the class map '
            'that both have (--classes), or truth in the classes of the model'
        )
    table = np.arange(256, dtype=np.uint8)
    table[: len(truth)] = model.ids(*truth.names)
    return table


def _is_nameless(class_map: ClassMap, count: int) -> bool:
    """Whether the names are only numbers, which a file without a class map is given."""
    return class_map.names == tuple(f'class {index}' for index in range(count))
