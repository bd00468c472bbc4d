"""Panels side by side."""

from __future__ import annotations

import numpy as np

from segformer_ros.drawing.panels import Panel, side_by_side


def panel(value: int, height: int, width: int) -> Panel:
    """A panel of one even colour."""
    return Panel(str(value), np.full((height, width, 3), (value, 0, 0), np.uint8))


def test_panels_stand_in_rows_of_two_at_one_height() -> None:
    picture = side_by_side([panel(200, 60, 80), panel(100, 120, 40), panel(50, 30, 30)], 60)
    places = [np.argwhere((picture == (value, 0, 0)).all(axis=2)) for value in (200, 100, 50)]
    assert [len(place) for place in places] == [60 * 80, 60 * 20, 60 * 60]
    first, second, third = (place.min(axis=0).tolist() for place in places)
    assert first[0] == second[0] < third[0]
    assert first[1] == third[1] < second[1]


def test_titles_are_written_above() -> None:
    picture = side_by_side([panel(0, 60, 80)], 60)
    assert picture[:24].max() > 200
