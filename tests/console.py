"""Hold a README to its word: run its ``console`` blocks and compare what they print.

``python -m tests.console README.md ...`` writes the real output into the blocks instead.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = "--- end of a command ---"

#: What differs from run to run, and what stands for it in the comparison.
_MASKS = (
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b"), "RUN-ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|µs|us|s)\b"), "SECONDS"),
    (re.compile(r'("seconds": ?)[\d.e-]+'), r"\1SECONDS"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line where the text begins."""

    language: str
    text: str
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Step:
    """A command of a console block and what the README says it prints."""

    command: str
    output: str


def blocks(markdown: str, language: str | None = None) -> list[Block]:
    """Return the fenced blocks of a Markdown text, of one language or of all."""
    found = [
        Block(m[1], m[2], markdown.count("\n", 0, m.start(2)) + 1, m.start(2), m.end(2))
        for m in _FENCE.finditer(markdown)
    ]
    return [b for b in found if language is None or b.language == language]


def steps(block: str) -> list[Step]:
    """Take a console block apart; a command goes on after a backslash at the end of its line."""
    commands: list[list[str]] = []
    goes_on = False
    for line in block.splitlines():
        if goes_on:
            commands[-1][0] += "\n" + line
        elif line.startswith("$ "):
            commands.append([line[2:]])
        else:
            commands[-1].append(line)
        goes_on = len(commands[-1]) == 1 and line.endswith("\\")
    return [Step(c[0], "\n".join(c[1:])) for c in commands]


def masked(text: str) -> str:
    """Replace what differs from run to run: run ids, times, durations, and the spaces that align them."""
    lines = []
    for line in text.rstrip().splitlines():
        found = line.rstrip()
        for pattern, name in _MASKS:
            found = pattern.sub(name, found)
        lines.append(re.sub(r" {2,}", " ", found) if found != line.rstrip() else found)
    return "\n".join(lines)


def environment(tools: Path) -> dict[str, str]:
    """Return an environment in which ``petal`` and ``python`` are this interpreter's, and nothing is coloured.

    Args:
        tools: A folder for the two commands; it is made.
    """
    tools.mkdir(parents=True, exist_ok=True)
    for name, module in (("petal", "-m petal"), ("python", "")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PETAL_", "PYTEST_", "COV_"))}
    return kept | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "TERM": "dumb",
    }


def run(commands: list[str], folder: Path, env: dict[str, str], *, seconds: float = 110) -> list[str]:
    """Run commands in one shell, as a user at a terminal does, and return what each prints (both streams)."""
    script = "".join(f'{c}\n__status=$?; echo "{_MARK}"; (exit $__status)\n' for c in commands)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.stdout.split(_MARK + "\n")[: len(commands)]


def play(readme: Path, folder: Path, env: dict[str, str]) -> list[str]:
    """Run every console block of a README in order, and return what does not agree with it.

    Args:
        readme: The README; all of its blocks share the folder.
        folder: Where to run, usually a copy of the README's own.
        env: See :func:`environment`.
    """
    wrong = []
    for block in blocks(readme.read_text(encoding="utf-8"), "console"):
        said = steps(block.text)
        for step, real in zip(said, run([s.command for s in said], folder, env), strict=True):
            if masked(step.output) != masked(real):
                wrong.append(
                    f"{readme}:{block.line}: `{step.command}` prints\n{real}\nbut the README says\n{step.output}"
                )
    return wrong


def copy_of(folder: Path, target: Path) -> Path:
    """Copy an example's folder without what runs left behind."""
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__", ".petal", "*.pyc")))


def update(readme: Path) -> None:
    """Write into a README what its commands really print, in a copy of its folder."""
    text = readme.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        env = environment(Path(scratch, "bin"))
        is_top = readme.resolve().parent == ROOT
        folder = Path(scratch, "work") if is_top else copy_of(readme.parent, Path(scratch, readme.resolve().parent.name))
        folder.mkdir(exist_ok=True)
        new, last = "", 0
        for block in blocks(text, "console"):
            said = steps(block.text)
            printed = run([s.command for s in said], folder, env)
            body = "".join(f"$ {s.command}\n{_whole(p)}" for s, p in zip(said, printed, strict=True))
            new += text[last : block.start] + body
            last = block.end
    readme.write_text(new + text[last:], encoding="utf-8")


def _whole(printed: str) -> str:
    return printed.rstrip() + "\n" if printed.strip() else ""


if __name__ == "__main__":
    for name in sys.argv[1:]:
        update(Path(name))
