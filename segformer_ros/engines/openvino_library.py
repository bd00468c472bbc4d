"""OpenVINO's library, without its reports to its makers."""

from __future__ import annotations

import sys
from typing import Any, Dict, cast


def import_openvino() -> Any:
    """The module `openvino`; raises ImportError where it is not installed.

    Each import of it reports to Google Analytics through the package openvino_telemetry, which it
    does without where that is missing. Nobody has asked for the reports, and a robot has no use
    for the process that sends them: so it is missing.
    """
    cast(Dict[str, Any], sys.modules).setdefault('openvino_telemetry', None)
    import openvino

    return openvino
