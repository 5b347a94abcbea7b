"""The brief's cases 2 to 4 on this machine's own dpkg.log, held against grep and cat."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from petal import Pipeline, RowError
from tests.console import environment, run

LOG = Path("/var/log/dpkg.log")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
INSTALLED = " status installed "


@pytest.fixture(scope="module")
def log() -> Path:
    assert LOG.is_file(), f"{LOG} is missing: these tests need a Debian machine's own log"
    assert LOG.stat().st_size > 10_000
    return LOG


def grep(pattern: str, file: Path) -> bytes:
    done = subprocess.run(["grep", "-E", pattern, str(file)], capture_output=True, check=True)
    assert done.stdout
    return done.stdout


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_case_2_gives_what_grep_gives(
    file: str, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(EXAMPLES / "02_regex_filter" / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    params = {"reader.file_path": log, "filter.pattern": INSTALLED}
    Pipeline.from_file(file).run(params=params).check()
    assert (tmp_path / "output.txt").read_bytes() == grep(INSTALLED, log)


def test_case_2_on_the_command_line(log: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "02_regex_filter/pipeline.yaml", tmp_path)
    command = f"petal run pipeline.yaml --set reader.file_path={log} --set filter.pattern='{INSTALLED}'"
    printed, status = run([command, "echo $?"], tmp_path, environment(tmp_path / "bin"))
    assert status.strip() == "0", printed
    assert (tmp_path / "output.txt").read_bytes() == grep(INSTALLED, log)


CASE_3 = {"upgraded.txt": " upgrade ", "configured.txt": " configure ", "installed.txt": INSTALLED}


def test_case_3_opens_the_file_once_for_three_outputs(log: Path, tmp_path: Path) -> None:
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    text = (EXAMPLES / "03_fan_out/pipeline.yaml").read_text()
    (tmp_path / "pipeline.yaml").write_text(text.replace("input.txt", str(log)))
    trace = tmp_path / "trace.txt"
    command = ["strace", "-f", "-e", "trace=openat,open", "-o", str(trace)]
    command += [sys.executable, "-m", "petal", "run", "pipeline.yaml"]
    env = environment(tmp_path / "bin")
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, pattern in CASE_3.items():
        assert (tmp_path / name).read_bytes() == grep(pattern, log), name
    opened = [line for line in trace.read_text().splitlines() if re.search(rf'"{re.escape(str(log))}"', line)]
    assert len(opened) == 1, opened


def test_case_4_gives_what_cat_gives(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EXAMPLES / "04_merge/pipeline.yaml", tmp_path)
    second = tmp_path / "second.txt"
    second.write_bytes(b"\n" + log.read_bytes()[:5_000].rpartition(b"\n")[0] + b"\n")
    monkeypatch.chdir(tmp_path)
    Pipeline.from_file("pipeline.yaml").run(
        params={"reader_a.file_path": log, "reader_b.file_path": second}
    ).check()
    cat = subprocess.run(["cat", str(log), str(second)], capture_output=True, check=True)
    assert (tmp_path / "merged.txt").read_bytes() == cat.stdout


def test_invalid_utf_8_names_the_line(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1_233] = b"2026-11-23 10:00:00 status installed caf\xe9:amd64 1.0\n"
    (tmp_path / "input.txt").write_bytes(b"".join(lines))
    (tmp_path / "output.txt").write_text("as it was")
    shutil.copy(EXAMPLES / "02_regex_filter/pipeline.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    result = Pipeline.from_file("pipeline.yaml").run()
    assert result.status == "failed"
    error = result.nodes["reader"].error
    assert error is not None
    assert "line 1234 of" in str(error)
    assert isinstance(error.__cause__, RowError)
    assert error.__cause__.row == 1_234
    assert (tmp_path / "output.txt").read_text() == "as it was"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".petal",
        "input.txt",
        "output.txt",
        "pipeline.yaml",
    ]


def test_invalid_utf_8_can_be_replaced(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = log.read_bytes()[:1_000].rpartition(b"\n")[0] + b"\n2026 status installed caf\xe9\n"
    (tmp_path / "input.txt").write_bytes(data)
    shutil.copy(EXAMPLES / "02_regex_filter/pipeline.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    params = {"reader.errors": "replace", "filter.pattern": "."}
    Pipeline.from_file("pipeline.yaml").run(params=params).check()
    assert (tmp_path / "output.txt").read_text() == data.decode(errors="replace")
