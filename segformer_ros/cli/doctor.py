"""segformer doctor: checks what this machine can run."""

from __future__ import annotations

import argparse
import json
from typing import List

from segformer_ros.cli.checks import (
    Finding,
    Health,
    examine_gpu,
    examine_machine,
    examine_software,
)
from segformer_ros.cli.ros_checks import examine_ros
from segformer_ros.text_table import format_table

SUMMARY = 'say what this machine can run, and what to do about what it cannot'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('--json', action='store_true', help='print JSON, for programs')


def run(arguments: argparse.Namespace) -> int:
    """Print all findings and the cures; the exit code is 1 where something is broken."""
    findings = examine()
    if arguments.json:
        print(json.dumps([{**f._asdict(), 'verdict': f.verdict.name} for f in findings], indent=2))
    else:
        rows = [(f.part, f.name, f.verdict.value, f.detail) for f in findings]
        print(format_table(('part', 'what', 'verdict', 'detail'), rows))
        cures = [f'- {f.name}: {f.cure}' for f in findings if f.cure]
        if cures:
            print('\nWhat to do:\n' + '\n'.join(cures))
    return int(any(f.verdict is Health.BROKEN for f in findings))


def examine() -> List[Finding]:
    """All findings, part by part."""
    return [*examine_machine(), *examine_software(), *examine_gpu(), *examine_ros()]
