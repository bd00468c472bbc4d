"""The replay's report as it goes over the wire."""

from __future__ import annotations

from segformer_ros.node.replay.replay_report import ReplayReport


def test_a_report_survives_the_wire() -> None:
    report = ReplayReport(
        finished=True,
        entries=3,
        published=2,
        broken=1,
        answered=2,
        seconds=1.5,
        latency_p50=10.0,
        latency_p99=20.0,
        problems=('frame 1: truncated',),
    )
    assert ReplayReport.from_json(report.to_json()) == report
