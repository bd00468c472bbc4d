"""speed.json: the timings of a run and what they were measured on."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence

import numpy as np

from segformer_ros.environment import environment
from segformer_ros.evaluation.tables import LATENCY
from segformer_ros.percentiles import percentiles


def speed_document(
    times: Mapping[str, Sequence[float]],
    facts: Mapping[str, str],
    workers: int,
    frames: int,
    seconds: float,
) -> Dict[str, Any]:
    """Timings of a run.

    times: milliseconds of each stage of all scored frames. frames, seconds: what this session
    scored (a resumed run has scored others before) and how long it took, start of the engine
    included.
    """
    stages = {name: percentiles(values)._asdict() for name, values in times.items() if values}
    totals = np.sum([times[name] for name in LATENCY], axis=0)
    return {
        'stages_ms': stages,
        'latency_ms': percentiles(totals)._asdict() if len(totals) else None,
        'session': {
            'workers': workers,
            'frames': frames,
            'seconds': round(seconds, 3),
            'fps': round(frames / seconds, 3) if seconds and frames else None,
        },
        'engine': dict(facts),
        'environment': environment(),
    }
