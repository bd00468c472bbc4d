"""Doctor: what this machine can run, and what to do about what it cannot."""

from __future__ import annotations

from typing import List

from segformer_ros.doctor.finding import Finding, Verdict
from segformer_ros.doctor.gpu import examine_gpu
from segformer_ros.doctor.machine import examine_machine
from segformer_ros.doctor.ros import examine_ros
from segformer_ros.doctor.software import examine_software


def examine() -> List[Finding]:
    """All findings, part by part."""
    return [*examine_machine(), *examine_software(), *examine_gpu(), *examine_ros()]


__all__ = ['Finding', 'Verdict', 'examine']
