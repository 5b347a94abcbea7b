"""Hold a README to its word: run its blocks and compare what they print.

* A ``console`` block is run command by command (lines that begin with ``$ ``) and its output compared.
* A ``yaml`` block is a whole pipeline and is validated, unless its file is called ``broken…``.
* A ``python`` block is a whole program and runs without an error.
* A block whose first line is a comment with a file's name, ``# etl.yaml``, is saved under that name first.

All blocks of a README share one folder, in their order. ``python -m tests.console README.md ...`` writes the real
output into the ``console`` blocks instead of comparing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"# ([\w-]+\.\w+)\n")
_NODE = re.compile(r"[✔✘–] [^: ]+ ")
#: What a README shows in place of the folder in which its commands run.
SHOWN_FOLDER = "/srv/project"
_MARK = "--- end of a command ---"

#: What differs from run to run, and what stands for it in the comparison.
_MASKS = (
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b"), "RUN-ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"), "WHEN"),
    (re.compile(r"^bash: (line \d+: )? *\d+ Killed\b.*"), "KILLED"),
    (re.compile(r"\bprocess \d+ on \S+, Petal \S+, Python \S+"), "PROCESS"),
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
    """Replace what differs from run to run: run ids, durations, and the spaces that align them."""
    lines = []
    for line in text.rstrip().splitlines():
        found = line.rstrip()
        for pattern, name in _MASKS:
            found = pattern.sub(name, found)
        lines.append(re.sub(r" {2,}", " ", found) if found != line.rstrip() else found)
    return "\n".join(_in_any_order(lines))


def _in_any_order(lines: list[str]) -> list[str]:
    """Sort neighbouring lines of nodes: nodes that run side by side end in any order."""
    groups = groupby(lines, lambda line: bool(_NODE.match(line)))
    return [line for is_node, group in groups for line in (sorted(group) if is_node else group)]


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
    if "PYTHONPATH" in kept:  # it may be relative to the checkout
        kept["PYTHONPATH"] = os.pathsep.join(str(ROOT / p) for p in kept["PYTHONPATH"].split(os.pathsep) if p)
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
    printed = done.stdout.replace(str(folder.resolve()), SHOWN_FOLDER)
    return printed.split(_MARK + "\n")[: len(commands)]


def play(readme: Path, folder: Path, env: dict[str, str]) -> list[str]:
    """Run every block of a README in order, and return what does not agree with it.

    Args:
        readme: The README.
        folder: Where to run, usually a copy of the README's own.
        env: See :func:`environment`.
    """
    wrong = []
    for block in blocks(readme.read_text(encoding="utf-8")):
        where = f"{readme}:{block.line}"
        if block.language == "console":
            for step, real in _performed(block, folder, env):
                if masked(step.output) != masked(real):
                    wrong.append(
                        f"{where}: `{step.command}` prints\n{real}\nbut the README says\n{step.output}"
                    )
        else:
            wrong += [f"{where}: {problem}" for problem in _tried(block, folder, env)]
    return wrong


def _performed(block: Block, folder: Path, env: dict[str, str]) -> list[tuple[Step, str]]:
    said = steps(block.text)
    return list(zip(said, run([s.command for s in said], folder, env), strict=True))


def _tried(block: Block, folder: Path, env: dict[str, str]) -> list[str]:
    """Save, validate or run a block that is no console block; return what is wrong with it."""
    named = _NAMED.match(block.text)
    if block.language not in ("yaml", "python") and named is None:
        return []
    file = folder / (
        named[1] if named else f"block_{block.line}.{ {'python': 'py'}.get(block.language, 'yaml') }"
    )
    file.write_text(block.text, encoding="utf-8")
    if file.name.startswith("broken"):
        return []
    command = {"yaml": "petal validate", "python": "python"}.get(block.language, "true")
    printed, status = run([f"{command} {file.name}", "echo $?"], folder, env)
    return [] if status.strip() == "0" else [printed]


def copy_of(folder: Path, target: Path) -> Path:
    """Copy an example's folder, or that of all examples, without what runs left behind."""
    results = (ROOT / "examples/.gitignore").read_text(encoding="utf-8").split()
    ignore = shutil.ignore_patterns("__pycache__", ".petal", "*.pyc", *results)
    return Path(shutil.copytree(folder, target, ignore=ignore))


def stage(readme: Path, scratch: Path) -> Path:
    """Make the folder in which a README's blocks run: a copy of its own, for the top one a folder with the examples."""
    home = readme.resolve().parent
    if home != ROOT:
        return copy_of(home, scratch / home.name)
    copy_of(ROOT / "examples", scratch / "project" / "examples")
    return scratch / "project"


def update(readme: Path) -> None:
    """Write into a README what its commands really print."""
    text = readme.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        env = environment(Path(scratch, "bin"))
        folder = stage(readme, Path(scratch))
        new, last = "", 0
        for block in blocks(text):
            if block.language != "console":
                for problem in _tried(block, folder, env):
                    print(f"{readme}:{block.line}: {problem}", file=sys.stderr)
                continue
            body = "".join(
                f"$ {step.command}\n{_whole(real)}" for step, real in _performed(block, folder, env)
            )
            new += text[last : block.start] + body
            last = block.end
    readme.write_text(new + text[last:], encoding="utf-8")


def _whole(printed: str) -> str:
    return (
        "\n".join(line.rstrip() for line in printed.rstrip().splitlines()) + "\n" if printed.strip() else ""
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        update(Path(name))
