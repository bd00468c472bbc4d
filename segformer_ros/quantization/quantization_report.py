# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The report of a quantisation: what INT8 and FP16 cost, and which layers are excluded."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from segformer_ros.quantization.accuracy_gate import LEAST_SHARE, Gate, GateResult
from segformer_ros.quantization.half_precision import HalfPrecision, HalfStep
from segformer_ros.quantization.layer_selection import LayerCost
from segformer_ros.quantization.quantizer import BACKENDS, QuantizationSettings, Quantized
from segformer_ros.quantization.simulation import LARGEST
from segformer_ros.text_table import markdown_table

MOST_LAYERS = 20
"""Most layers that the Markdown lists; the JSON has all."""


def as_json(result: Quantized, settings: QuantizationSettings) -> Dict[str, Any]:
    """The report's numbers."""
    return {
        **result.record.as_report(_half_numbers(result.half, 'fp16')),
        'failures': list(result.failures),
        'backend': settings.backend,
        'ranges': settings.ranges,
        'percent': settings.percent,
        'gate': {'agreement': settings.gate.agreement, 'loss': settings.gate.loss},
        'layers': len(result.selection.layers),
        'chained': list(result.selection.chained),
        'excluded': list(result.excluded),
        'all_layers': _verdict(result.first_verdict, 'int8'),
        'result': _verdict(result.verdict, 'int8'),
        'int8_fp16': result.pair and _half_numbers(result.pair, 'int8_fp16'),
        'cost': [{'layer': cost.name, 'error': cost.error} for cost in result.costs],
    }


def _half_numbers(half: HalfPrecision, precision: str) -> Dict[str, Any]:
    return {
        'failures': list(half.failures),
        'overflowing': list(half.overflowing),
        'steps': [
            {'fp32_layers': list(step.single), **_verdict(step.verdict, precision)}
            for step in half.steps
        ],
        **_verdict(half.chosen.verdict, precision),
    }


def as_markdown(result: Quantized, settings: QuantizationSettings, title: str) -> str:
    """The report for people."""
    verdict = result.verdict
    lines = [
        f'# INT8 of {title}',
        '',
        f'{"**Refused**: " + "; ".join(result.failures) if result.failures else "**Passed**"} '
        f'({_gate_words(settings.gate, verdict)}), on {verdict.frames} frames that were not used '
        'for calibration.',
        '',
        f'{_chosen_words(result, settings.backend)}, ranges by {settings.ranges}'
        + (f' ({settings.percent:g} %)' if settings.ranges == 'percentile' else '')
        + f'; {len(result.excluded)} layers stay in floating point.',
        '',
        _summary_table(result.first_verdict, verdict),
        '',
        _class_table(verdict),
        *_rare_note(verdict),
    ]
    if result.excluded:
        lines += ['', 'In floating point:', '', *(f'- `{name}`' for name in result.excluded)]
    if result.costs:
        lines += ['', _cost_table(result.costs)]
    refused = half_advice(result) if result.half.failures else ''
    lines += ['', *_half_section('FP16 of the same model', result.half, settings.gate, refused)]
    if result.pair:
        failures = result.pair.failures
        lines += [
            '',
            *_half_section(
                'INT8 with FP16 beside it, as engines have it',
                result.pair,
                settings.gate,
                '; '.join((*failures, 'engines have FP32 beside INT8')) if failures else '',
            ),
        ]
    return '\n'.join(lines) + '\n'


def _chosen_words(result: Quantized, backend: str) -> str:
    layers, chained = len(result.selection.layers), len(result.selection.chained)
    if backend == 'own':
        return f'{layers} layers with weights, {chained} additions and resizes between them'
    return f'{layers} layers with weights and {chained} other nodes, chosen by nvidia-{backend}'


def half_advice(result: Quantized) -> str:
    """What to do about a model that fails in FP16, naming the layers that overflow."""
    failures = '; '.join(result.half.failures)
    if not result.half.overflowing:
        return (
            f'{failures} in FP16, though no layer overflows; use fp32, or accept the '
            'loss with --agreement or --loss'
        )
    layers = ', '.join(result.half.overflowing[:3])
    return f'{failures} in FP16, whose numbers end at {LARGEST:g}: beyond are {layers}; use fp32'


def advice(result: Quantized, settings: QuantizationSettings) -> str:
    """What to do about an INT8 model that did not pass, naming the layers that cost most."""
    costliest = ', '.join(cost.name for cost in result.costs[:3])
    other = next(rule for rule in BACKENDS[settings.backend] if rule != settings.ranges)
    return (
        f'{"; ".join(result.failures)}, with {len(result.excluded)} layers left in floating '
        f'point; the layers that cost most are {costliest}. Calibrate with more and more typical '
        f'frames, try --ranges {other}, accept the loss with --agreement or --loss, or stay with '
        f'{"fp32" if result.half.failures else "fp16"}'
    )


def _verdict(verdict: GateResult, precision: str) -> Dict[str, Any]:
    return {
        'frames': verdict.frames,
        'agreement_miou': verdict.agreement,
        'pixel_agreement': verdict.pixel_agreement,
        'class_agreement': verdict.class_agreement,
        'rare_classes': verdict.rare,
        'miou_fp32': verdict.miou_fp32,
        f'miou_{precision}': verdict.miou,
        'class_iou': {
            name: {'fp32': pair[0], precision: pair[1]}
            for name, pair in (verdict.class_iou or {}).items()
        },
    }


def _gate_words(gate: Gate, verdict: GateResult) -> str:
    if verdict.loss is None:
        return f'gate: agreement of at least {gate.agreement:g}'
    return f'gate: at most {100 * gate.loss:g} points of mean IoU lost'


def _summary_table(first: GateResult, last: GateResult) -> str:
    rows = [
        ('agreement with FP32, mean IoU', f'{first.agreement:.4f}', f'{last.agreement:.4f}'),
        (
            'agreement with FP32, pixels',
            f'{first.pixel_agreement:.4f}',
            f'{last.pixel_agreement:.4f}',
        ),
    ]
    if last.miou is not None and first.miou is not None:
        rows += [
            ('mean IoU of FP32', f'{first.miou_fp32:.4f}', f'{last.miou_fp32:.4f}'),
            ('mean IoU of INT8', f'{first.miou:.4f}', f'{last.miou:.4f}'),
        ]
    return markdown_table(('', 'all layers INT8', 'result'), rows)


def _class_table(verdict: GateResult) -> str:
    agreement = {name: f'{iou:.4f}' for name, iou in verdict.class_agreement.items()}
    if not verdict.class_iou:
        return markdown_table(('class', 'agreement'), agreement.items())
    rows = []
    for name in dict.fromkeys((*verdict.class_iou, *agreement)):
        pair = verdict.class_iou.get(name)
        iou = [f'{value:.4f}' for value in pair] if pair else ['-', '-']
        rows.append((name, agreement.get(name, '-'), *iou))
    return markdown_table(('class', 'agreement', 'IoU FP32', 'IoU INT8'), rows)


def _rare_note(verdict: GateResult) -> List[str]:
    if not verdict.rare:
        return []
    names = ', '.join(f'{name} ({pixels})' for name, pixels in verdict.rare.items())
    return [
        '',
        f'Not in the mean of the agreement, with less than {100 * LEAST_SHARE:g} % of the pixels: '
        f'{names}.',
    ]


def _half_section(title: str, half: HalfPrecision, gate: Gate, refused: str) -> List[str]:
    """The steps taken, and the layers in FP32; refused: why no step passed."""
    words = '**Passed**'
    if refused:
        words = f'**Refused**: {refused}'
    elif half.single:
        words = f'**Passed** with {len(half.chosen.single)} layers in FP32'
    rows = [_half_row(step) for step in half.steps]
    columns = ['in FP32', 'agreement, mean IoU', 'agreement, pixels', 'mean IoU']
    lines = [
        f'## {title}',
        '',
        f'{words} ({_gate_words(gate, half.chosen.verdict)}). Each value is rounded to FP16 and '
        'summed in FP32.',
        '',
        markdown_table(columns if rows[0][3:] else columns[:3], rows),
    ]
    if half.single:
        kept = (f'- `{name}`' for name in half.chosen.single)
        lines += ['', 'In FP32, each with what follows it up to the next:', '', *kept]
    return lines


def _half_row(step: HalfStep) -> List[str]:
    verdict, count = step.verdict, len(step.single)
    what = 'nothing' if not count else f'{count} of {step.layers} layers'
    if count and step.head:
        what = f'the decode head: {what}'
        if count > step.head:
            what = f'the decode head and the dearest others: {count} of {step.layers} layers'
    row = [what, f'{verdict.agreement:.4f}', f'{verdict.pixel_agreement:.4f}']
    if verdict.miou is not None and verdict.miou_fp32 is not None:
        row.append(f'{verdict.miou:.4f} (FP32: {verdict.miou_fp32:.4f})')
    return row


def _cost_table(costs: Sequence[LayerCost]) -> str:
    rows = [(f'`{cost.name}`', f'{cost.error:.2e}') for cost in costs[:MOST_LAYERS]]
    return (
        'Noise that a layer alone brings into the logits, as a share of their power:\n\n'
        + markdown_table(('layer', 'share'), rows)
    )
