"""The drawing of layers: well-formed, named, patterned, and true to the numbers."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from magics.charts.layers import Step, draw

STEPS = (
    Step(label='workbench base <python> & "more"', size=60_000_000, shared=2),
    Step(label="RUN pip install -r requirements.txt", size=20_000_000),
    Step(label="COPY . .", size=12),
)


def tree(steps: tuple[Step, ...] = STEPS) -> ElementTree.Element:
    return ElementTree.fromstring(draw("app:latest", steps).body)


def bars(svg: ElementTree.Element) -> list[tuple[float, float, str]]:
    return [
        (
            float(bar.attrib["x"].rstrip("%")),
            float(bar.attrib["width"].rstrip("%")),
            bar.attrib["style"],
        )
        for group in svg.findall("g")
        for bar in group.findall("rect")
    ]


def test_each_bar_begins_where_the_one_below_ends() -> None:
    first, second, third = bars(tree())
    assert abs(first[0] + first[1] - second[0]) < 0.01
    assert abs(second[0] + second[1] - third[0]) < 0.01
    assert abs(first[1] / second[1] - 3) < 0.01


def test_shared_layers_are_told_by_a_pattern_and_in_words() -> None:
    svg = tree()
    first, second, _ = bars(svg)
    assert "url(#" in first[2] and "url(#" not in second[2]
    assert "shared with other images" in "".join(svg.itertext())
    assert "shared with 2 other images" in (svg.findtext("desc") or "")
    assert "shared with other images" not in "".join(tree(STEPS[1:]).itertext())


def test_the_drawing_has_a_name_and_a_description() -> None:
    svg = tree()
    assert svg.attrib["role"] == "img"
    ids = svg.attrib["aria-labelledby"].split()
    assert [svg.find(f"*[@id='{one}']") is not None for one in ids] == [True, True]
    assert "80.0 MB in all" in (svg.findtext("title") or "")


def test_two_drawings_of_one_page_do_not_share_ids() -> None:
    assert draw("a", STEPS).body.count("wb") and draw("a", STEPS) == draw("a", STEPS)
    mark = tree().attrib["aria-labelledby"]
    other = ElementTree.fromstring(draw("other", STEPS).body).attrib["aria-labelledby"]
    assert mark != other


def test_an_image_without_bytes_can_be_drawn() -> None:
    assert bars(tree((Step(label="COPY a", size=0),)))[0][1] == 0
    assert tree(()) is not None


def test_a_saved_drawing_stands_alone(tmp_path: Path) -> None:
    path = draw("app", STEPS).save(tmp_path / "layers.svg")
    text = path.read_text("utf-8")
    ElementTree.fromstring(text)
    assert "--wb-bar:#" in text and "--jp-layout" not in text


def test_the_words_tell_the_same() -> None:
    text = draw("app:latest", STEPS).text()
    assert "▒" in text and "█" in text and "60.0 MB" in text
