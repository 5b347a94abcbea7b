"""Ask caches what an edit changes: `python -m tests.benchmarks.edits [--readme]`.

A function is cached, something that it uses is edited, and it is asked for again, in a new process. A cache that still
gives the old value is stale; one that runs the function again although its value cannot have changed does work in vain.
All use the same module, and everything else is as it comes. What they answer goes to `edits.json`, from which the README's
table is written, between its markers; `--readme` only writes that table. The peers are those that
`python -m tests.benchmarks` installs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.home import HERE, ROOT, Home

RESULTS = HERE / "edits.json"
BEGIN, END = "<!-- edits -->", "<!-- /edits -->"
PEERS = {"petal": "Petal", "hamilton": "Hamilton", "joblib": "joblib"}
AGAIN, CACHED, STALE = "runs again", "cached", "**stale**"
#: Seconds by which an edit is later than what was there, where it is not within the same second.
_LATER = 10

FILES = {
    "etl.py": '''\
"""A function that uses others."""

import re
from pathlib import Path

from near import tidy

SEPARATOR = "-"
WORD = re.compile("[a-z]+")


def text() -> str:
    return "one  two 3"


def _unused() -> int:
    return 1


def clean(text: str) -> str:
    """Take the words out of a text."""
    # Only words.
    Path("ran").touch()
    return SEPARATOR.join(tidy(word) for word in WORD.findall(text))
''',
    "near.py": "from far import ending\n\n\ndef tidy(word: str) -> str:\n    return word.title() + ending()\n",
    "far.py": 'def ending() -> str:\n    return "."\n',
    # For Petal; the others have scripts of their own.
    "pipeline.py": """\
import etl

from petal import Pipeline, node

pipeline = Pipeline.of(etl.text, node(etl.clean, policies={"cache": True}))
""",
}


@dataclass(frozen=True)
class Edit:
    """An edit, and the value after it.

    Attributes:
        key: Its name in `edits.json`.
        what: Its name in the table.
        file: What is edited.
        before: The text that is replaced.
        after: What replaces it.
        value: What the function gives then.
        at_once: Whether the file keeps its time of modification, in whole seconds, and its size.
    """

    key: str
    what: str
    file: str
    before: str
    after: str
    value: str
    at_once: bool = False


FIRST = "One.-Two."
EDITS = [
    Edit("nothing", "nothing", "far.py", "", "", FIRST),
    Edit("comment", "a comment in the function", "etl.py", "# Only words.", "# Words, no numbers.", FIRST),
    Edit("unrelated", "another function of the module", "etl.py", "return 1", "return 2", FIRST),
    Edit("own", "the function itself", "etl.py", "tidy(word)", "tidy(word).upper()", "ONE.-TWO."),
    Edit("far", "a helper two modules away", "far.py", '"."', '"..."', "One...-Two..."),
    Edit("constant", "a constant of the module", "etl.py", '"-"', '" - "', "One. - Two."),
    Edit("regex", "a compiled regular expression", "etl.py", '"[a-z]+"', '"[a-z0-9]+"', "One.-Two.-3."),
    Edit("at-once", "a helper, within the same second", "far.py", '"."', '"!"', "One!-Two!", at_once=True),
]


def answer(edit: Edit, command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Say what a cache does after an edit: runs the function again, gives what it has, or gives what is stale.

    Args:
        edit: The edit.
        command: Prints the function's value, from the cache where it is there, as its last line.
        folder: An empty folder, in which it runs.
        environment: Its environment.
    """
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    first = _asked(command, folder, environment)
    if first != (FIRST, True):
        raise SystemExit(f"error: {command} gives {first} in a new folder")
    file = folder / edit.file
    was = file.stat()
    text = file.read_text(encoding="utf-8")
    assert edit.before in text
    file.write_text(text.replace(edit.before, edit.after, 1) if edit.before else text, encoding="utf-8")
    moment = was.st_mtime + (0 if edit.at_once else _LATER)
    os.utime(file, (moment, moment))
    value, ran = _asked(command, folder, environment)
    if value != edit.value:
        return STALE
    return AGAIN if ran else CACHED


def _asked(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, bool]:
    """Return the value, and whether the function ran for it."""
    (folder / "ran").unlink(missing_ok=True)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: {command} failed:\n{done.stderr}")
    return done.stdout.splitlines()[-1], (folder / "ran").exists()


def answers(peer: str, python: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return what a peer's cache does after each edit.

    Args:
        peer: A key of `PEERS`.
        python: An interpreter that has it.
        environment: For its processes. It must let Python write bytecode, as it does by itself.
    """
    command = [str(python), str(HERE / "peers" / f"edited_{peer}.py")]
    found = {}
    for edit in EDITS:
        folder = Path(tempfile.mkdtemp(prefix="petal-edits-"))
        try:
            found[edit.key] = answer(edit, command, folder, environment)
        finally:
            shutil.rmtree(folder)
    return found


def table(results: dict[str, dict[str, str]]) -> str:
    """Return the README's table."""
    lines = [f"| what is edited | {' | '.join(PEERS.values())} |", "|---|" + "---|" * len(PEERS)]
    lines += [f"| {e.what} | {' | '.join(results[peer][e.key] for peer in PEERS)} |" for e in EDITS]
    return "\n".join(lines)


def with_table(readme: str, results: dict[str, dict[str, str]]) -> str:
    """Return the README with the table between its markers."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no markers: put {BEGIN} and {END} where the table belongs")
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}"


def load() -> dict[str, dict[str, str]]:
    """Return what was found last."""
    found: dict[str, dict[str, str]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def own_environment() -> dict[str, str]:
    """Return an environment in which Python writes bytecode, and Petal keeps its state in the current folder."""
    out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return {k: v for k, v in os.environ.items() if k not in out and not k.startswith(("PETAL_", "COV_"))}


def main() -> None:
    """Carry out the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readme", action="store_true", help="only write the table into the README")
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".benchmarks", help="where the peers are installed"
    )
    given = parser.parse_args()
    if not given.readme:
        home = Home(given.home.resolve())
        found = {"petal": answers("petal", Path(sys.executable), own_environment())}
        found |= {
            peer: answers(peer, home.python(peer), home.environment()) for peer in PEERS if peer != "petal"
        }
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), load()), encoding="utf-8")


if __name__ == "__main__":
    main()
