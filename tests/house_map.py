"""The list of rooms and files in ``src/petal/README.md``, made of the modules' own docstrings.

``python -m tests.house_map`` writes it; ``test_house.py`` compares.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "petal"
MAP = PACKAGE / "README.md"
BEGIN, END = "<!-- rooms: python -m tests.house_map -->\n", "<!-- /rooms -->"

#: The floors, top first, with the rooms on each.
FLOORS = (
    ("cli", "testing"),
    ("app",),
    ("execution", "metadata", "worker", "library"),
    ("running",),
    ("data",),
    ("authoring", "config", "planning"),
    ("plugin", "code"),
    ("interfaces",),
    ("spec",),
    ("errors.py",),
)


def rooms() -> str:
    """Return the list as Markdown: each floor, its rooms, and a line for every file."""
    lines = []
    for i, floor in enumerate(FLOORS):
        for room in (r for r in floor if (PACKAGE / r).exists()):
            number = len(FLOORS) - 1 - i
            if room.endswith(".py"):
                lines += [f"### {number} `{room}`", "", summary(PACKAGE / room), ""]
                continue
            lines += [f"### {number} `{room}/`", ""]
            lines += [f"{summary(PACKAGE / room / '__init__.py')}", ""]
            files = sorted(p for p in (PACKAGE / room).rglob("*.py") if p.name != "__init__.py")
            lines += [f"- `{p.relative_to(PACKAGE / room)}`: {summary(p)}" for p in files]
            lines.append("")
    return "\n".join(lines)


def summary(file: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    text = MAP.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    MAP.write_text(before + BEGIN + "\n" + rooms() + END + rest.partition(END)[2], encoding="utf-8")
