"""The one writer: a reader sees the old file or the new one, never half of one (F01, F05, F06, DESIGN 6)."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from petal import OutputError, open_output
from petal.data.files import Output, Outputs, write_text
from petal.data.publishing import sweep

strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
NEW = "new" * 1_000_000
PETAL = """
import sys
from petal import open_output
try:
    with open_output(sys.argv[1]) as file:
        for _ in range(10):
            file.write(b"new" * 100_000)
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(7)
"""
NAIVE = """
import sys
with open(sys.argv[1], "wb") as file:
    for _ in range(10):
        file.write(b"new" * 100_000)
"""


def temporaries(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if ".petal-" in p.name]


def traced(code: str, target: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], str]:
    log = target.parent.parent / "strace.log"
    done = subprocess.run(
        ["strace", "-f", "-o", str(log), *options, sys.executable, "-c", code, str(target)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done, log.read_text()


@pytest.fixture
def target(tmp_path):
    """A file with old content, alone in its folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "out.txt"
    path.write_text("old")
    return path


def test_the_target_is_old_until_the_end_and_then_new(target):
    """DESIGN 6: within the block a reader sees the old file, after it the new one, and nothing else stays."""
    with open_output(target) as file:
        file.write(NEW.encode())
        file.flush()
        assert target.read_text() == "old"
    assert target.read_text() == NEW
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_leaves_the_target_as_it_was(target, error):
    """DESIGN 6: whatever is raised, nothing of the new file is left."""

    def write() -> None:
        with open_output(target) as file:
            file.write(NEW.encode())
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_new_file_does_not_exist_until_it_is_whole(tmp_path):
    """DESIGN 6: a target that was absent stays absent when writing fails."""
    target = tmp_path / "new.txt"
    with pytest.raises(ValueError), open_output(target):  # noqa: PT011
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    write_text(target, "é")
    assert target.read_bytes() == "é".encode()


@strace
def test_it_is_synced_before_it_is_published(target):
    """F03: write, fsync of the file, rename, fsync of the folder, in this order."""
    done, log = traced(PETAL, target, "-e", "trace=fsync,rename,renameat,renameat2")
    assert done.returncode == 0, done.stderr
    calls = [m[1] for m in re.finditer(r"\b(fsync|rename\w*)\(", log)]
    assert calls == ["fsync", "rename", "fsync"], log


FAULTS = [
    ("write", "ENOSPC", "1..2"),
    ("write", "EIO", "2"),
    ("write", "EDQUOT", "1"),
    ("fsync", "EIO", "1"),
    ("fsync", "ENOSPC", "1"),
    ("fsync", "EIO", "2"),
    ("rename,renameat,renameat2", "EACCES", "1"),
]


@strace
@pytest.mark.slow
@pytest.mark.parametrize(("call", "error", "when"), FAULTS)
def test_a_full_disk_or_a_failing_one_is_a_clear_error(target, call, error, when):
    """F05, F06: an error of write, fsync or rename is an OutputError; the target is intact and no temporary left."""
    options = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    done, log = traced(PETAL, target, *options)
    assert "INJECTED" in log, log
    assert done.returncode == 7, (done.stdout, done.stderr)
    assert done.stdout.startswith("OutputError cannot write")
    assert str(target) in done.stdout
    assert temporaries(target.parent) == []
    whole = target.read_text()
    assert whole == "old" if (call, when) != ("fsync", "2") else whole in ("old", NEW)


@strace
@pytest.mark.slow
def test_killed_at_any_system_call_it_never_tears(target):
    """F01: killed at each call that touches the file; the target is old or new. A naive writer tears at the same points."""
    torn = {"petal": 0, "naive": 0}
    for name, code in (("petal", PETAL), ("naive", NAIVE)):
        for call, most in (("write", 4), ("fsync", 2), ("rename,renameat,renameat2", 1)):
            for when in range(1, most + 1):
                target.write_text("old")
                _, log = traced(
                    code, target, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={when}"
                )
                if "SIGKILL" not in log:
                    continue
                content = target.read_text()
                torn[name] += content not in ("old", NEW)
    assert torn["petal"] == 0
    assert torn["naive"] > 0
    with open_output(target) as file:  # the next writer removes what the killed ones left
        file.write(b"x")
    assert list(target.parent.iterdir()) == [target]


def test_a_killed_writers_temporary_goes_and_a_living_ones_stays(target):
    """F01: stale temporaries are removed by the next writer only if their owner is dead."""
    living = Output(target)
    living.open()
    code = "import os, sys\nfrom petal.data.files import Output\no = Output(sys.argv[1])\no.open()\nos.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert len(temporaries(target.parent)) == 2
    sweep(str(target.parent))
    assert len(temporaries(target.parent)) == 1
    living.file.write(b"alive")
    living.commit()
    assert target.read_text() == "alive"
    other = target.parent / ".notes.petal.tmp"
    other.write_text("mine")
    sweep(str(target.parent))
    assert other.exists()


def test_two_writers_at_a_time_leave_one_whole_file(target):
    """F14: the last complete commit wins; a reader that polls sees whole files only."""
    contents = {c * 300_000 for c in "abc"}
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(target.read_text())

    def write(text: str) -> None:
        for _ in range(5):
            with open_output(target) as file:
                for i in range(0, len(text), 10_000):
                    file.write(text[i : i + 10_000].encode())

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert seen <= contents | {"old"}
    assert list(target.parent.iterdir()) == [target]


def test_a_symbolic_link_is_followed(tmp_path, target):
    """DESIGN 6: the file behind a link is replaced, the link stays; a dangling link makes its file."""
    link = tmp_path / "link"
    link.symlink_to(target)
    with open_output(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "made")
    write_text(dangling, "x")
    assert dangling.is_symlink()
    assert (tmp_path / "made").read_text() == "x"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_the_mode_of_the_target_is_kept(target, mode):
    """DESIGN 6: a file that is replaced keeps its mode; a new one has the mode that the umask gives."""
    target.chmod(mode)
    with open_output(target) as file:
        file.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == mode
    before = os.umask(0o027)
    try:
        write_text(target.with_name("fresh"), "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.with_name("fresh").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "says", "remedy"),
    [
        ("", "it is a folder", "name a file inside it"),
        ("missing/out.txt", "No such file or directory", "create the folder first"),
        ("out.txt/below", "Not a directory", "is a file, not a folder"),
        ("x" * 300, "File name too long", None),
    ],
)
def test_a_target_that_cannot_be_is_a_clear_error(target, name, says, remedy):
    """F05: the message names the path and the reason, the hint the remedy, and nothing is left."""
    with pytest.raises(OutputError) as error, open_output(target.parent / name):
        raise AssertionError
    assert says in error.value.message
    assert str(target.parent) in error.value.message
    assert remedy is None or remedy in (error.value.hint or "")
    assert list(target.parent.iterdir()) == [target]
    assert target.read_text() == "old"


def test_a_long_name_has_room_for_its_temporary(tmp_path):
    """DESIGN 6: a name of 255 bytes, ASCII or not, can be written."""
    for name in ("x" * 255, "é" * 127):
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_a_device_and_a_pipe_are_written_directly(tmp_path):
    """DESIGN 6: what cannot be replaced is written as it is."""
    with open_output("/dev/null") as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    with open_output(fifo) as file:
        file.write(b"through")
    reader.join()
    assert got == [b"through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert list(tmp_path.iterdir()) == [fifo]


def test_several_outputs_are_published_together_in_order(tmp_path):
    """DESIGN 6: data first, manifest last; an abort drops all of them."""
    outputs = Outputs("run-1")
    for name in ("data", "manifest"):
        with outputs.open(tmp_path / name) as file:
            file.write(name.encode())
    assert not (tmp_path / "data").exists()
    outputs.commit()
    assert (tmp_path / "data").read_text() == "data"
    assert (tmp_path / "data").stat().st_mtime_ns <= (tmp_path / "manifest").stat().st_ctime_ns
    outputs = Outputs("run-2")
    with outputs.open(tmp_path / "data") as file:
        file.write(b"other")
    outputs.abort()
    assert (tmp_path / "data").read_text() == "data"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "manifest"]


def test_an_output_after_the_end_is_refused(tmp_path):
    """F27: a thread that goes on after its attempt was dropped publishes nothing and leaves nothing."""
    outputs = Outputs("run-1")
    with outputs.open(tmp_path / "early") as file:
        file.write(b"x")
        outputs.abandon()
    with pytest.raises(OutputError, match="has been stopped"), outputs.open(tmp_path / "late"):
        raise AssertionError
    outputs.commit()
    assert list(tmp_path.iterdir()) == []


def test_os_errors_inside_the_block_are_output_errors(target):
    """F05: an OSError while writing names the target, and is an OSError still."""

    def write() -> None:
        with open_output(target) as file:
            file.write(b"x")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError) as error:
        write()
    assert isinstance(error.value, OSError)
    assert "free some space" in (error.value.hint or "")
    assert target.read_text() == "old"


def test_an_interrupt_while_the_file_is_made_leaves_nothing(tmp_path, monkeypatch):
    """F24: a signal between making the temporary file and knowing its descriptor loses no track of it."""
    import fcntl

    from petal.data.files import Outputs

    def interrupted(*_):
        raise KeyboardInterrupt

    outputs = Outputs("run")
    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt), outputs.open(tmp_path / "target"):
        pass
    outputs.abort()
    assert list(tmp_path.iterdir()) == []
