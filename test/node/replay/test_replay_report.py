# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

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
