"""The command line as a process: signals, pipes, encodings, imports."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import ENVIRONMENT, PETAL

SLOW = """\
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from petal import WRITES, Context, operator, open_output


@operator
def rows() -> Iterator[str]:
    for i in range(3000):
        time.sleep(0.01)
        yield str(i)


@operator
def sink(rows: Iterator[str], *, path: Annotated[Path, WRITES] = Path("target.txt"), context: Context) -> None:
    with open_output(path, context) as file:
        for row in rows:
            file.write(row.encode())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_behind(tmp_path, number, code):
    """SIGINT ends with 130 and SIGTERM with 143, soon; no target and no temporary file is left."""
    (tmp_path / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [*PETAL, "run", "slow.py"], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not list(tmp_path.glob(".target.txt.*")):
        time.sleep(0.02)
    assert list(tmp_path.glob(".target.txt.*")), "the sink never opened its file"
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert f"stopped by {number.name}" in err
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["slow.py"]


def test_a_closed_pipe_ends_quietly(tmp_path):
    """``petal run | head`` says nothing about the pipe."""
    (tmp_path / "input.txt").write_text("line\n" * 400_000)
    (tmp_path / "p.yaml").write_text(
        "nodes:\n  - {id: r, type: FileReader, params: {file_path: input.txt}}\n"
        "  - {id: w, type: FileWriter, params: {file_path: '-'}}\nedges: [[r, w]]\n"
    )
    process = subprocess.Popen(
        [*PETAL, "run", "-q", "p.yaml"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(5) == b"line\n"
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 141
    assert err == b""


def test_stdout_that_is_closed_at_once(process, chain):
    """A result that nobody reads is no error to speak of."""
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [*PETAL, "describe"],
        cwd=chain,
        env=ENVIRONMENT,
        check=False,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    os.close(write)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_ascii_where_the_stream_takes_no_more(process, chain):
    """A stream that is not UTF-8 gets ASCII, and characters beyond it are escaped."""
    (chain / "chain.yaml").rename(chain / "pétale.yaml")
    ran = process("run", "pétale.yaml", PYTHONIOENCODING="ascii")
    assert ran.returncode == 0
    assert ran.stderr.isascii()
    assert ran.stderr.startswith("ok ")
    drawn = process("graph", "pétale.yaml", PYTHONIOENCODING="ascii")
    assert "[reader] --> [filter]" in drawn.stdout


def test_a_run_imports_only_what_it_needs(chain):
    """A run of nodes that touch no file loads no structlog, rich, polars, pluggy or asyncio."""
    (chain / "noop.yaml").write_text(
        "nodes:\n  - {id: a, type: EmptySource}\n  - {id: b, type: NoOpTransformer}\n  - {id: c, type: NoOpSink}\n"
        "edges: [[a, b], [b, c]]\n"
    )
    code = (
        "import sys\nfrom petal.cli.main import invoke\nassert invoke(['run', 'noop.yaml']) == 0\n"
        "heavy = {'structlog', 'rich', 'polars', 'pluggy', 'diskcache', 'asyncio', 'numpy', 'importlib.metadata'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=chain,
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.stdout == "[]\n", ran.stderr


def test_completion(process):
    """The shell's completion is click's own."""
    ran = process(_PETAL_COMPLETE="bash_complete", COMP_WORDS="petal va", COMP_CWORD="1")
    assert ran.stdout == "plain,validate\n"


@pytest.mark.parametrize(
    "command",
    [
        "schema",
        "--help",
        *(
            pytest.param(text, marks=pytest.mark.slow)
            for text in ("describe operators", "describe --help", "--version")
        ),
    ],
)
@pytest.mark.parametrize(
    ("target", "problem"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_stdout_that_takes_nothing(tmp_path, command, target, problem, unbuffered):
    """A stdout that is closed or full is one line and exit code 4."""
    ran = _redirected(f"{command} {target}", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert ran.returncode == 4
    assert ran.stderr == f"error: cannot write to the standard output: {problem}\n"


@pytest.mark.parametrize(
    ("file", "code"), [("chain.yaml", 0), pytest.param("nope.yaml", 2, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("target", ["<&-", ">&-", "2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_run_does_not_need_its_streams(chain, file, code, target):
    """A run that has nothing for a stream does not mind that it is closed or full, and no file gets its descriptor."""
    assert _redirected(f"run {file} {target}", chain).returncode == code
    if code == 0:
        assert (chain / "output.txt").read_text() == "ERROR one\nERROR two\n"


def test_what_an_operator_prints_is_missed(tmp_path):
    """A run whose operators print to a full stdout does not end as if nothing had happened."""
    (tmp_path / "p.py").write_text(
        "from petal import operator\n@operator\ndef a() -> int:\n    print('hello')\n    return 1\n"
    )
    ran = _redirected("run -q p.py >/dev/full", tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (4, 1)


def _redirected(command, folder, **environment):
    return subprocess.run(
        ["bash", "-c", f'exec "$0" -m petal {command}', sys.executable],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": "", **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


LOUD = """\
import subprocess
import sys

from petal import operator

print("printed")
print("kept", file=sys.__stdout__)
subprocess.run(["echo", "started"], check=True)


@operator
def a() -> int:
    return 1
"""


@pytest.mark.parametrize(
    "command",
    [
        "run --json",
        *(
            pytest.param(text, marks=pytest.mark.slow)
            for text in (
                "validate --format json",
                "plan --json",
                "schema",
                "run --dry-run --json",
                "describe --json -f",
            )
        ),
    ],
)
@pytest.mark.parametrize("file", ["p.yaml", "loud.py"])
def test_loading_prints_to_stderr(process, tmp_path, command, file):
    """What a pipeline's Python prints while it is loaded, by whatever way, leaves the JSON on stdout alone."""
    (tmp_path / "loud.py").write_text(LOUD)
    (tmp_path / "p.yaml").write_text("plugins: [./loud.py]\nnodes: [{id: a, type: A}]\n")
    ran = process(*command.split(), file)
    assert ran.returncode == 0, ran.stderr
    json.loads(ran.stdout)
    assert {"printed", "kept", "started"} <= set(ran.stderr.splitlines())
