"""Outputs of a finished run: the report and the annotated bag."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from segformer_ros.evaluation.annotate import write_annotated_bag
from segformer_ros.evaluation.errors import EvaluationError
from segformer_ros.evaluation.gate import baseline_notes
from segformer_ros.evaluation.report import ReportContent, frame_pictures, write_report
from segformer_ros.evaluation.runner import Evaluation, Run
from segformer_ros.evaluation.tables import read_frames, read_latency
from segformer_ros.evaluation.worker import Progress, no_progress

ANNOTATED_MCAP = 'annotated.mcap'


def report_run(
    run: Run,
    evaluation: Evaluation,
    baseline: Optional[Mapping[str, Any]] = None,
    broken: Sequence[str] = (),
) -> Path:
    """Write report.html of a finished run and return its path."""
    scorer = run.job.scorer()
    cameras = {name: run.job.camera(source) for name, source in zip(run.names, run.sources)}
    content = ReportContent(
        metrics=evaluation.metrics,
        speed=evaluation.speed,
        rows=read_frames(run.out),
        latency=read_latency(run.out),
        pictures=[
            frame_pictures(frame, scorer.classes, scorer.drivable, cameras[frame.input])
            for frame in evaluation.pictures
        ],
        colors={
            name: 'rgb({}, {}, {})'.format(*scorer.classes.class_map.classes[ids[0]].color)
            for name, ids in zip(scorer.classes.names, scorer.classes.members)
        },
        baseline=baseline,
        broken=broken,
        remarks=baseline_notes(evaluation.metrics, baseline) if baseline else (),
    )
    return write_report(run.out, content)


def annotate_run(run: Run, progress: Progress = no_progress) -> Path:
    """Write the annotated bag of a finished run whose masks were kept; returns its path."""
    predictions = run.job.mask_folder()
    if predictions is None:
        raise EvaluationError('an annotated bag needs the masks: set EvaluationJob.predictions')
    path = run.out / ANNOTATED_MCAP
    # A reference's table is not for the labels of the recordings, which it stands in for.
    tables = run.job.truth_tables(run.sources)
    if run.job.reference is not None:
        tables = [None] * len(tables)
    recordings = list(zip(run.names, run.sources, tables))
    classes = run.job.scorer().classes
    write_annotated_bag(path, recordings, read_frames(run.out), predictions, classes, progress)
    return path
