"""A journal that cannot be read, or not all of it: every command says what, where and what to do, and none falls over."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.cli.resumable import OPERATORS, stop_at

Petal = Callable[..., Ran]

PIPELINE = """\
plugins: [./ops.py]
nodes:
  - {id: first, type: make}
  - {id: last, type: add, inputs: {xs: [first]}}
"""


def _first(data: bytes) -> bytes:
    return data.replace(b'"pipeline"', b'"PIPELINE"', 1)


def _third(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:2], lines[2][:30] + b"~" + lines[2][31:], *lines[3:]])


def _noise(_: bytes) -> bytes:
    return b"".join(random.Random(3).randbytes(200) + b"\n" for _ in range(9))


def _foreign(_: bytes) -> bytes:
    return b'{"name": "somebody else\'s"}\n'


def _cut(data: bytes) -> bytes:
    return data[:200]


#: How a journal is damaged; whether what was planned is still known; and what is said of it.
DAMAGE: dict[str, tuple[Callable[[bytes], bytes], bool, str]] = {
    "the first record": (_first, False, "record 1 (bytes 0 to"),
    "a later record": (_third, True, "record 3 (bytes"),
    "noise": (_noise, False, "record 1 (bytes 0 to"),
    "another file": (_foreign, False, "record 1 (bytes 0 to"),
}


@pytest.fixture
def journal(tmp_path: Path, petal: Petal) -> Path:
    """The journal of a run whose last node failed."""
    (tmp_path / "ops.py").write_text(OPERATORS)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    stop_at(tmp_path, "fail", 2)
    assert petal("run", "p.yaml", "-q").code == 1
    (found,) = (tmp_path / ".petal" / "runs").glob("*.jsonl")
    return found


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_damaged_is_named_with_its_place_and_a_remedy(how: str, journal: Path, petal: Petal) -> None:
    """`runs` lists the run and `show` what is left of it; `replay` and `--resume` say why not, where it cannot be."""
    damage, known, says = DAMAGE[how]
    journal.write_bytes(damage(journal.read_bytes()))
    run = journal.stem
    listed = petal("runs")
    assert listed.code == 0
    assert run in listed.out
    assert says in listed.err
    assert str(journal) in listed.err
    assert f"petal show {run}" in listed.err
    shown = petal("show", run)
    assert shown.code == 0
    assert says in shown.out
    assert ("--resume" in shown.out) is known
    replayed = petal("replay", run, "last")
    assert replayed.code == (0 if known else 1)
    assert says in replayed.err
    named = petal("run", "p.yaml", "--resume", run)
    assert named.code == 1
    assert says in named.err
    assert "hint: run the pipeline afresh" in named.err
    for ran in (listed, shown, replayed, named):
        assert "this is a bug" not in ran.err


def test_an_older_run_is_not_resumed_in_its_place(journal: Path, petal: Petal) -> None:
    """Where nobody knows whose the last run was, `--resume` goes on with none before it is told with which."""
    petal("run", "p.yaml", "-q")
    (newest,) = set(journal.parent.glob("*.jsonl")) - {journal}
    newest.write_bytes(_first(newest.read_bytes()))
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert f"which pipeline run {newest.stem} was of is not known" in ran.err
    assert "--resume RUN" in ran.err
    assert petal("run", "p.yaml", "--resume", journal.stem).code == 0


def test_one_journal_that_cannot_be_read_hides_no_other(journal: Path, petal: Petal) -> None:
    """A folder in the place of a journal is listed as unreadable, and the other runs as they are."""
    (journal.parent / "20200101T000000Z-00000000.jsonl").mkdir()
    ran = petal("runs")
    assert ran.code == 0
    assert journal.stem in ran.out
    assert "unreadable" in ran.out
    assert "Is a directory" in ran.err
    shown = petal("show", "2020")
    assert shown.code == 1
    assert "hint: see what is there" in shown.err


def test_a_run_that_was_killed_before_it_began(journal: Path, petal: Petal) -> None:
    """A torn first record is no damage: nothing had begun, and `--resume` says so."""
    journal.write_bytes(_cut(journal.read_bytes()))
    assert petal("runs").err == ""
    assert "it was not written" in petal("show", "last").out
    ran = petal("run", "p.yaml", "--resume", journal.stem)
    assert ran.code == 1
    assert "was stopped before it began" in ran.err


# -- FILE where RUN or NODE is expected ---------------------------------------------------------------------------


def test_a_file_behind_resume_is_the_pipeline(journal: Path, petal: Petal) -> None:
    """`petal run --resume FILE` and `--refresh FILE` mean what they look like; what is no file gets the right command."""
    (journal.parents[2] / "stop").unlink()
    ran = petal("run", "--resume", "p.yaml", "--json")
    assert ran.code == 0, ran.err
    assert ran.data["run_id"] == journal.stem
    assert petal("run", "--refresh", "p.yaml").code == 0
    twice = petal("run", "p.yaml", "--resume", "p.yaml")
    assert twice.code == 2
    assert "`petal run p.yaml --resume`" in twice.err


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("--resume", "20260101"), "`petal run FILE --resume 20260101`"),
        (("--resume",), "`petal run FILE --resume`"),
        (("--refresh", "first"), "`petal run FILE --refresh first`"),
        ((), "petal run pipeline.yaml"),
    ],
)
def test_without_a_file_the_right_command_is_named(args: tuple[str, ...], hint: str, petal: Petal) -> None:
    """What an option has taken for its value is named with the command that was meant."""
    ran = petal("run", *args)
    assert ran.code == 2
    assert "FILE is missing" in ran.err
    assert hint in ran.err
