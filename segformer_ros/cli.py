"""segformer: the command line. Each verb is a module of `segformer_ros.commands`."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from typing import Any, List, Optional

from segformer_ros import commands
from segformer_ros.errors import ArgumentParser, explained
from segformer_ros.interrupts import interruptible, segformer


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a verb; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parsed, unknown = _parser(given).parse_known_args(given)
    if unknown:
        parsed.refuse(f'unrecognized arguments: {" ".join(unknown)}')
    if parsed.debug:
        return interruptible(lambda: int(parsed.run(parsed)))
    return explained(f'segformer {parsed.verb}', lambda: parsed.run(parsed))


def verbs() -> List[str]:
    """Names of all verbs."""
    return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


def _parser(given: List[str]) -> ArgumentParser:
    """Parser of the verb that is asked for; of all verbs where none is."""
    parser = ArgumentParser(
        prog='segformer', description='Street segmentation with SegFormer, without ROS.'
    )
    subparsers = parser.add_subparsers(dest='verb', metavar='VERB', required=True)
    asked = [verb for verb in verbs() if verb in given[:1]]
    for verb in asked or verbs():
        module: Any = import_module(f'{commands.__name__}.{verb}')
        subparser = subparsers.add_parser(
            verb, help=module.SUMMARY, description=f'{module.SUMMARY[0].upper()}'
            f'{module.SUMMARY[1:]}.',
        )  # fmt: skip
        module.add_arguments(subparser)
        subparser.add_argument(
            '--debug', action='store_true', help='show where an error comes from'
        )
        subparser.set_defaults(run=module.run, refuse=subparser.error)
    return parser


if __name__ == '__main__':
    segformer()
