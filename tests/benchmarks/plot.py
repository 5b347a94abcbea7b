"""Draw results as one SVG: bars on a logarithmic scale, a panel for each group, readable on light and on dark."""

from __future__ import annotations

import math
from html import escape
from statistics import median

from tests.benchmarks.cases import Measured
from tests.benchmarks.report import amount

#: The groups that are drawn, section and group, and what stands above them.
PANELS = {
    ("hello", "three"): "Start, run three nodes that do nothing, end",
    ("nodes", "layered_10000"): "Build and run 10,000 nodes in layers",
    ("filter", "log"): "Filter a log of 1 GiB",
    ("fanout", "log"): "Three filters, three files, 1 GiB",
    ("jsonl", "events"): "JSON lines to CSV, 512 MiB",
    ("tasks", "waits"): "64 tasks that wait 0.1 s",
}
WIDTH, LABELS, VALUES, LINE, TITLE = 760, 280, 90, 18, 34
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .bar { fill: #9aa4b2 } .petal { fill: #c2417c }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .bar { fill: #6b7686 } .petal { fill: #e0689c }
  }"""


def svg(results: Measured) -> str:
    """Return the drawing of those panels that are measured."""
    sections, parts, top = results["sections"], [], 8.0
    for (section, group), title in PANELS.items():
        if section in sections:
            drawn, height = _panel(title, sections[section]["groups"][group], top)
            parts.append(drawn)
            top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top:.0f}" viewBox="0 0 {WIDTH} {top:.0f}">'
    return f"{head}\n<style>{_STYLE}\n</style>\n{''.join(parts)}</svg>\n"


def _panel(what: str, group: Measured, top: float) -> tuple[str, float]:
    rows = [
        (median(row["figures"]), key, row["name"]) for key, row in group["rows"].items() if row["figures"]
    ]
    rows.sort()
    low = 10 ** math.floor(math.log10(rows[0][0]))
    decades = max(math.log10(rows[-1][0] / low), 0.1)
    unit = {"s": "seconds", "µs": "µs a node"}[group["unit"]]
    title = f"{what} ({unit}, logarithmic)"
    lines = [f'<text class="title" x="8" y="{top + 16:.0f}">{escape(title)}</text>\n']
    for at, (figure, key, name) in enumerate(rows):
        y = top + TITLE - 8 + at * LINE
        length = max(2.0, math.log10(figure / low) / decades * (WIDTH - LABELS - VALUES))
        kind = "petal" if key.startswith("petal") else "bar"
        lines.append(
            f'<text x="{LABELS - 8}" y="{y + 12:.0f}" text-anchor="end">{escape(name.replace("`", ""))}</text>'
            f'<rect class="{kind}" x="{LABELS}" y="{y + 2:.0f}" width="{length:.1f}" height="{LINE - 5}" rx="2"/>'
            f'<text x="{LABELS + length + 6:.1f}" y="{y + 12:.0f}">{amount(figure, group["unit"])}</text>\n'
        )
    return "".join(lines), TITLE + len(rows) * LINE + 8
