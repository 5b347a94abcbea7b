"""Two runs that write one target: the second is refused, a dead one never blocks, nothing stays behind (F14, S8.2)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from petal.data import busy
from petal.data.busy import hold, lock_folder, lock_of
from petal.data.files import Outputs
from petal.data.published import HASHED, is_same
from petal.errors import OutputError
from petal.spec.event import Target

FIRST, SECOND = "20261123T120000Z-0badcafe", "20261123T120000Z-00c0ffee"
OWNER = """
import os, sys
from petal.data.files import Outputs
outputs = Outputs("a-1", run=sys.argv[2])
with outputs.open(sys.argv[1]) as file:
    file.write(b"of another process")
print(os.getpid(), flush=True)
sys.stdin.readline()
outputs.commit()
"""


def locks(folder: Path) -> set[str]:
    """Return which files in a folder are held."""
    names = ("target.txt", "other.txt", "third.txt", "data", "manifest", "x")
    found = {name: lock_of(folder / name) for name in names}
    return {name for name, path in found.items() if path is not None and os.path.exists(path)}


@pytest.fixture(autouse=True)
def no_lock_is_left(tmp_path):
    """No lock outlives what held it."""
    yield
    assert locks(tmp_path) | locks(tmp_path / "out") == set()


@pytest.fixture
def target(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "target.txt"
    path.write_text("old")
    return path


def owner(target: Path, run: str = FIRST) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(target), run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=20)


def opened(run: str, target: Path) -> Outputs:
    outputs = Outputs(f"{run}-1", run=run)
    with outputs.open(target) as file:
        file.write(b"mine")
    return outputs


def test_the_second_run_is_refused_with_the_owners_id_and_process(target):
    """F14: the error names the run and the process; the target is the first run's, and free again after it."""
    process, pid = owner(target)
    with pytest.raises(OutputError) as error:
        opened(SECOND, target)
    assert error.value.code == "target-busy"
    assert f"run {FIRST} (process {pid})" in error.value.message
    assert str(target) in error.value.message
    assert "wait until that run has ended" in (error.value.hint or "")
    end(process)
    assert target.read_text() == "of another process"
    opened(SECOND, target).commit()
    assert target.read_text() == "mine"
    assert os.listdir(target.parent) == [target.name]


def test_an_owner_that_was_killed_blocks_nobody(target):
    """F14: kill -9 the owner, start again; neither its lock nor its temporary stays."""
    process, _ = owner(target)
    process.kill()
    process.communicate()
    opened(SECOND, target).commit()
    assert target.read_text() == "mine"
    assert os.listdir(target.parent) == [target.name]


def test_what_a_killed_run_left_elsewhere_is_swept_by_the_next(target, monkeypatch):
    """S8.2: a lock of a dead process on another target is removed, one of a living process stays."""
    other = target.with_name("other.txt")
    dead, _ = owner(target)
    living, _ = owner(other)
    dead.kill()
    dead.communicate()
    assert locks(target.parent) == {"target.txt", "other.txt"}
    monkeypatch.setattr(busy, "_swept", set())
    opened(SECOND, target.with_name("third.txt")).abort()
    assert locks(target.parent) == {"other.txt"}
    with pytest.raises(OutputError):
        opened(SECOND, other)
    end(living)


def test_links_and_other_spellings_name_the_same_target(target):
    """F14: it is the file that counts, not how it is written."""
    link = target.with_name("link")
    link.symlink_to(target)
    outputs = opened(FIRST, target)
    for name in (link, target.parent / ".." / "out" / target.name):
        with pytest.raises(OutputError, match=FIRST):
            opened(SECOND, name)
    outputs.abort()


def test_processes_of_one_run_share_a_target(target):
    """S4.5: what a worker has written and still holds, its run's own process publishes; a later attempt may write too."""
    process, _ = owner(target)
    outputs = opened(FIRST, target)
    outputs.commit()
    assert target.read_text() == "mine"
    end(process)


@pytest.mark.parametrize("way", ["commit", "abort", "abandon"])
def test_every_end_lets_the_target_go(target, way):
    """F14: after each way to end, another run can write the target."""
    outputs = opened(FIRST, target)
    getattr(outputs, way)()
    opened(SECOND, target).abort()
    outputs.abort()


def test_a_block_that_fails_lets_the_target_go(target):
    """F14: a node that raises while it writes holds nothing."""
    outputs = Outputs("a-1", run=FIRST)
    with pytest.raises(ValueError), outputs.open(target):  # noqa: PT011
        raise ValueError
    opened(SECOND, target).abort()


def test_outside_of_runs_the_last_to_publish_wins(target):
    """F14: a script's own `open_output` is no run, and is not refused."""
    first, second = Outputs("a"), Outputs("b")
    for outputs in (first, second):
        with outputs.open(target) as file:
            file.write(b"x")
        outputs.commit()


def test_many_runs_at_once_write_one_at_a_time(target):
    """F14: of threads that hold one target by turns, no two ever have it together, whoever removes the lock."""
    inside, worst, lock = [0], [0], threading.Lock()
    done = []

    def work(number: int) -> None:
        got = 0
        while got < 20:
            try:
                held = hold(target, f"run-{number}")
            except OutputError:
                continue
            assert held is not None
            with lock:
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
            with lock:
                inside[0] -= 1
            held.release()
            got += 1
        done.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(6))
    assert worst[0] == 1


def test_a_lock_that_is_removed_before_it_is_locked_counts_for_nothing(target, monkeypatch):
    """F14: between opening a lock and locking it, its owner may remove it and a third run make a new one."""
    import fcntl

    path = lock_of(target)
    assert path is not None
    real, third = fcntl.flock, []

    def late(file: int, how: int) -> None:
        if not third and how & fcntl.LOCK_EX:
            third.append(None)
            os.unlink(path)
            third[0] = hold(target, FIRST)
        real(file, how)

    hold(target.with_name("warm"), FIRST).release()  # what sweeps, has swept
    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(OutputError, match=FIRST):
        hold(target, SECOND)
    third[0].release()


def test_the_folder_of_locks_is_the_users_own(tmp_path, monkeypatch):
    """F81: private; one that others may write, or a link, is not used, and without any there is no lock and no error."""
    folder = lock_folder()
    assert folder is not None
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    name = Path(folder).name
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    real = busy._is_own
    monkeypatch.setattr(busy, "_is_own", lambda path: not path.startswith("/tmp/petal-") and real(path))
    assert lock_folder() == str(tmp_path / name)
    (tmp_path / name).chmod(0o777)
    assert lock_folder() is None
    (tmp_path / name).rmdir()
    (tmp_path / name).symlink_to(tmp_path)
    assert lock_folder() is None
    assert hold(tmp_path / "x", FIRST) is None


# -- what was published --------------------------------------------------------------------------------------------


def published(folder: Path, **contents: bytes) -> list[Target]:
    outputs = Outputs("a-1", run=FIRST, describe=True)
    for name, content in contents.items():
        with outputs.open(folder / name) as file:
            file.write(content)
    stored = outputs.store()
    assert not (folder / "data").exists()
    targets = outputs.commit()
    assert targets == stored
    return targets


def test_commit_says_what_it_published_in_order(tmp_path):
    """S9.3: path, size and sha256 of each file, in the order in which they were opened, known before it is visible."""
    import hashlib

    targets = published(tmp_path, data=b"rows", manifest=b"names")
    assert [(Path(t.path).name, t.size) for t in targets] == [("data", 4), ("manifest", 5)]
    assert targets[0].digest == "sha256:" + hashlib.sha256(b"rows").hexdigest()
    assert all(map(is_same, targets))


@pytest.mark.parametrize("size", [1_000, HASHED + 1], ids=["small", "large"])
def test_a_file_that_was_changed_is_not_the_same(tmp_path, size):
    """S9.3: another byte, another length, or no file at all: resume does not take it for what was stored."""
    [target] = published(tmp_path, data=b"x" * size)
    path = Path(target.path)
    assert is_same(target)
    os.rename(path, tmp_path / "aside")
    assert not is_same(target)
    path.write_bytes(b"y" * size)
    assert not is_same(target)
    os.replace(tmp_path / "aside", path)
    assert is_same(target)
    with path.open("ab") as file:
        file.write(b"z")
    assert not is_same(target)


def test_a_device_is_not_among_what_was_published(tmp_path):
    """DESIGN 6: there is nothing to verify about /dev/null."""
    outputs = Outputs("a-1", run=FIRST, describe=True)
    with outputs.open("/dev/null") as file:
        file.write(b"gone")
    assert outputs.commit() == []


def test_all_are_stored_before_the_first_is_published(tmp_path, monkeypatch):
    """DESIGN 6: when the second file cannot be stored, the first does not appear either."""
    outputs = Outputs("a-1", run=FIRST)
    for name in ("data", "manifest"):
        with outputs.open(tmp_path / name) as file:
            file.write(b"x")
    real, calls = os.fsync, []

    def broken(file: int) -> None:
        calls.append(file)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(file)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match="manifest"):
        outputs.commit()
    assert list(tmp_path.iterdir()) == []
