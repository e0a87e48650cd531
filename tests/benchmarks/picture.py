"""The picture of the figures: an SVG written by hand, readable on light and dark ground, with every number beside its bar. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

WIDTH: Final = 860
LABEL_WIDTH: Final = 250
VALUE_WIDTH: Final = 190
BAR: Final = 22
GAP: Final = 10
TOP: Final = 64
PANEL_GAP: Final = 46
FONT: Final = "-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
STYLE: Final = """\
  .ground { fill: #ffffff; }
  .title { font: 600 17px FONT; fill: #1f2933; }
  .note { font: 12px FONT; fill: #616e7c; }
  .label { font: 13px FONT; fill: #323f4b; }
  .value { font: 600 13px FONT; fill: #1f2933; }
  .spread { stroke: #323f4b; stroke-width: 1.5; }
  .axis { stroke: #cbd2d9; stroke-width: 1; }
  .ours { fill: #0f7b6c; }
  .peer { fill: #9aa5b1; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; }
    .title, .value { fill: #f0f3f6; }
    .label { fill: #d0d7de; }
    .note { fill: #9ea7b3; }
    .spread { stroke: #d0d7de; }
    .axis { stroke: #3d444d; }
    .ours { fill: #2ea895; }
    .peer { fill: #6e7781; }
  }"""


class Bar(NamedTuple):
    """One bar."""

    label: str
    value: float
    least: float
    most: float
    note: str = ""
    """Behind the value, as `4.4 ×`."""
    ours: bool = False


class Panel(NamedTuple):
    """Bars on one linear scale."""

    title: str
    unit: str
    bars: Sequence[Bar]


def picture(panels: Sequence[Panel], *, caption: str) -> str:
    """Return the SVG of panels one below the other."""
    body: list[str] = []
    y = 20.0
    for panel in panels:
        y = _panel(panel, y, body)
    body.append(_text(24, y, caption, "note"))
    height = int(y + 20)
    style = STYLE.replace("FONT", FONT)
    told = "; ".join(f"{panel.title}: " + ", ".join(f"{bar.label} {_shown(bar.value)}" for bar in panel.bars) for panel in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">\n'
        f"<title>{escape(told)}</title>\n<style>\n{style}\n</style>\n"
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _panel(panel: Panel, y: float, body: list[str]) -> float:
    """Append a panel; returns where it ends."""
    body.append(_text(24, y + 18, panel.title, "title"))
    body.append(_text(24, y + 36, panel.unit, "note"))
    top = y + TOP - 10
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / max(bar.most for bar in panel.bars)
    for place, bar in enumerate(panel.bars):
        at = top + place * (BAR + GAP)
        middle = at + BAR / 2 + 4.5
        width = max(1.5, bar.value * scale)
        body.append(_text(LABEL_WIDTH - 10, middle, bar.label, "label", anchor="end"))
        kind = "ours" if bar.ours else "peer"
        body.append(f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{at:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>')
        ends = [LABEL_WIDTH + bar.least * scale, LABEL_WIDTH + bar.most * scale]
        if ends[1] - ends[0] > 1:
            line = f'x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{at + BAR / 2:.1f}" y2="{at + BAR / 2:.1f}"'
            body.append(f'<line class="spread" {line}/>')
        text = _shown(bar.value) + (f"   {bar.note}" if bar.note else "")
        body.append(_text(max(LABEL_WIDTH + width, ends[1]) + 8, middle, text, "value"))
    bottom = top + len(panel.bars) * (BAR + GAP)
    body.append(f'<line class="axis" x1="{LABEL_WIDTH}" x2="{LABEL_WIDTH}" y1="{top - 6:.1f}" y2="{bottom - 2:.1f}"/>')
    return bottom + PANEL_GAP - GAP


def _shown(value: float) -> str:
    """Return a value with three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> str:
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{placed}>{escape(text)}</text>'
