"""The README is true: its blocks run, its tables and commands name what is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from petal.errors import PetalError
from petal.library.table import OPERATORS
from tests.console import Block, Step, blocks, environment, masked, play, run, stage, steps

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_every_block_is_true(tmp_path: Path) -> None:
    assert play(README, stage(README, tmp_path), environment(tmp_path / "bin")) == []


def test_it_has_exactly_two_commands_to_set_up() -> None:
    run_one, test_all = (b.text.strip() for b in blocks(TEXT, "sh"))
    assert "\n" not in run_one + test_all
    install, _, example = run_one.partition(" && ")
    assert install == "pip install ."
    assert (ROOT / shlex.split(example)[2]).is_file()
    plugins = sorted(p.parent.relative_to(ROOT).as_posix() for p in ROOT.glob("plugins/*/pyproject.toml"))
    packages = " ".join(f"-e {p}" for p in ["'.[dev]'", *plugins])
    assert test_all == f"pip install {packages} && python -m pytest -n 2"


def test_ci_takes_its_commands_from_there() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    [function] = [line for line in text.splitlines() if line.startswith("command_of_readme()")]
    commands = f"{function}\ncommand_of_readme 1\ncommand_of_readme 2"
    done = subprocess.run(["bash", "-c", commands], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "".join(b.text for b in blocks(TEXT, "sh"))
    assert "petal run" not in text


def test_the_examples_of_its_table_are_those_that_are_there() -> None:
    listed = re.findall(r"^\| \[\w+\]\((examples/\w+)\)", TEXT, re.MULTILINE)
    there = sorted(p.parent for p in (ROOT / "examples").glob("*/README.md"))
    assert listed == [p.relative_to(ROOT).as_posix() for p in there]


def test_each_example_has_its_parts() -> None:
    for folder in (ROOT / "examples").glob("*/"):
        if (folder / "README.md").exists():
            for part in ("pipeline.yaml", "pipeline.py", f"test_example_{folder.name[:2]}.py"):
                assert (folder / part).is_file(), folder / part


def test_its_commands_are_those_that_there_are(tmp_path: Path) -> None:
    """Those of Petal itself: the README of a plugin that is installed tells of its own."""
    env = environment(tmp_path / "bin") | {"PETAL_DISABLE_PLUGIN_AUTOLOAD": "1"}
    [help] = run(["petal --help"], tmp_path, env)
    there = set(re.findall(r"^  (\w+)  +[A-Z]", help.partition("Commands:")[2], re.MULTILINE))
    table = TEXT.partition("### Command line")[2].partition("FILE is")[0]
    assert set(re.findall(r"`petal (\w+)", table)) == there


def test_its_exit_codes_are_those_of_the_errors() -> None:
    codes = {c.exit_code for c in _all(PetalError)} | {0, 143}
    said = TEXT.partition("Exit codes: ")[2].partition("\n\n")[0]
    assert {int(n) for n in re.findall(r"\b\d+\b", said)} == codes


def test_its_links_lead_somewhere() -> None:
    for file in [README, *(ROOT / "examples").rglob("README.md"), ROOT / "src/petal/README.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file}: {target}"


def test_it_says_which_operators_are_built_in_only_by_their_names() -> None:
    named = set(re.findall(r"type: (\w+)", TEXT)) - {"Shorten", "Numbers", "Squares"}
    assert named
    assert named <= {*OPERATORS, "RegexFiltr"}


# -- the helper itself ----------------------------------------------------------------------------------------


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    """A positive control of :func:`play`."""
    readme = tmp_path / "README.md"
    readme.write_text(
        "```console\n$ echo a\na\n$ echo b\nc\n$ false\n$ echo $?\n1\n```\n"
        "```yaml\nnodes: [{id: a, type: Nonesuch}]\n```\n"
        "```python\nraise SystemExit(3)\n```\n"
        "```python\n# kept.py\nprint('kept')\n```\n"
        "```console\n$ python kept.py\nkept\n```\n"
    )
    wrong = play(readme, tmp_path, environment(tmp_path / "bin"))
    assert [re.search(r"README\.md:(\d+)", w)[1] for w in wrong] == ["2", "11", "14"]  # type: ignore[index]
    assert "`echo b` prints\nb\n" in wrong[0]
    assert "Nonesuch" in wrong[1]


def test_blocks_and_steps() -> None:
    [block] = blocks("text\n```console\n$ one \\\n  more\nout\n\n$ two\n```\n")
    assert block == Block("console", "$ one \\\n  more\nout\n\n$ two\n", 3, 16, 42)
    assert steps(block.text) == [Step("one \\\n  more", "out\n"), Step("two", "")]


def test_what_differs_from_run_to_run_is_masked() -> None:
    one = "✔ a  Reader  3 rows    0.01s\n✔ b  Reader  12 rows  10.0s\nrun 20261123T074628Z-67827a4e: 5 ms\n"
    other = "✔ b  Reader  12 rows  3.1s\n✔ a  Reader  3 rows   0.2s\nrun 20270101T000000Z-00000000: 12 ms\n"
    assert masked(one) == masked(other)
    assert masked("4 rows in  0.01s") != masked("5 rows in  0.01s")
    assert masked("two  spaces") == "two  spaces"


def _all(cls: type[PetalError]) -> list[type[PetalError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _all(sub))]
