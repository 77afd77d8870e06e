"""Plots are well-formed, whatever stands in names, and longer bars stand for more."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vcf_pipeline.benches.svg import Bars, Line, drawn

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values_and_names_are_escaped():
    text = drawn([Bars("<rates>", "/s", [("a & b", 100.0), ("half", 50.0), ("none", 0.0)])])
    root = ElementTree.fromstring(text)  # noqa: S314 - written a line above
    widths = [float(width) for width in re.findall(r'<rect x="\d+" y="\d+" width="([\d.]+)"', text)]
    assert abs(widths[1] - widths[0] / 2) <= 0.1
    assert widths[2] == 1.0
    assert [element.text for element in root.iter(f"{NAMESPACE}text")][:2] == ["<rates>", "a & b"]


def test_a_line_goes_through_its_points_from_left_to_right_and_the_highest_is_on_top():
    root = ElementTree.fromstring(drawn([Line("memory", "s", "MB", [(0.0, 10.0), (1.0, 30.0), (2.0, 20.0)])]))  # noqa: S314
    (line,) = root.iter(f"{NAMESPACE}polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert min(points, key=lambda point: point[1]) == points[1]


def test_nothing_to_draw_is_drawn():
    root = ElementTree.fromstring(drawn([Bars("none", "", []), Line("none", "s", "MB", [])]))  # noqa: S314
    assert root.tag == f"{NAMESPACE}svg"
