"""The folder of state: made private, refused where others could change what is in it (S8.2, F07, F81)."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest

from petal.data.home import Home, find_home, home_for
from petal.errors import EnvironmentNotReady, UsageError


def test_it_is_made_private_and_ignored_by_git(tmp_path):
    """S8.2: mode 0700, a .gitignore of its own, and making it again changes nothing."""
    home = Home(tmp_path / "deep" / ".petal").create()
    assert {stat.S_IMODE(p.stat().st_mode) for p in (home.path, home.runs, home.cache, home.spill)} == {0o700}
    assert (home.path / ".gitignore").read_text() == "*\n"
    before = sorted(p.name for p in home.path.iterdir())
    home.create()
    assert sorted(p.name for p in home.path.iterdir()) == before


def test_nothing_is_made_before_it_is_asked_for(tmp_path):
    """G17: a home that is only named writes nothing."""
    home_for(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_it_before_the_pipelines_folder(tmp_path):
    """S8.2: beside the pipeline, or $PETAL_HOME."""
    assert home_for(tmp_path, {}).path == tmp_path / ".petal"
    assert home_for(tmp_path, {"PETAL_HOME": ""}).path == tmp_path / ".petal"
    assert home_for(tmp_path, {"PETAL_HOME": str(tmp_path / "x")}).path == tmp_path / "x"


def test_it_is_found_from_a_folder_below(tmp_path):
    """S8.2: commands that read what runs left search upward; a folder `.petal` of another kind is passed over."""
    home = Home(tmp_path / ".petal").create()
    (tmp_path / "a" / ".petal").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir()
    found = find_home(tmp_path / "a" / "b", {})
    assert found is not None
    assert found.path == home.path
    assert find_home(tmp_path / "a", {"PETAL_HOME": str(tmp_path / "none")}) is None


def _link(path):
    (path.parent / "real").mkdir(mode=0o700)
    path.symlink_to(path.parent / "real")


def _writable(mode):
    def make(path):
        path.mkdir()
        path.chmod(mode)

    return make


@pytest.mark.parametrize(
    ("make", "says", "remedy"),
    [
        (_link, "symbolic link", "/real`"),
        (_writable(0o770), "can be written by others", "chmod 700"),
        (_writable(0o707), "can be written by others", "chmod 700"),
        (lambda path: path.write_text(""), "is not a folder", "--home"),
    ],
    ids=["link", "group", "world", "file"],
)
def test_one_that_others_could_change_is_refused(tmp_path, make, says, remedy):
    """F81: a link, a folder that others can write, or a file is refused when it is made and when it is read."""
    home = Home(tmp_path / ".petal")
    make(home.path)
    with pytest.raises(EnvironmentNotReady, match=says) as error:
        home.create()
    assert error.value.code == "home"
    assert remedy in (error.value.hint or "")
    assert "PETAL_HOME" in (error.value.hint or "")


def test_reading_refuses_as_well(tmp_path):
    """F81: what others may have planted is not read either."""
    home = Home(tmp_path / ".petal").create()
    home.path.chmod(0o777)
    with pytest.raises(EnvironmentNotReady, match="can be written by others"):
        find_home(tmp_path, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_one_of_another_user_is_refused(tmp_path):
    """F81: the folder belongs to someone else."""
    home = Home(tmp_path / ".petal")
    home.path.mkdir(mode=0o700)
    os.chown(home.path, 65534, 65534)
    with pytest.raises(EnvironmentNotReady, match=r"belongs to another user \(uid 65534\)"):
        home.create()


READ_ONLY = """
import os, subprocess, sys
from petal.data.home import Home
from petal.errors import EnvironmentNotReady, UsageError
place, there = sys.argv[1], sys.argv[2] == "there"
subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
if there:
    Home(place + "/.petal").create()
subprocess.run(["mount", "-o", "remount,ro", place], check=True)
try:
    Home(place + "/.petal").create()
except EnvironmentNotReady as error:
    print(error.code, error.message, error.hint, sep="|")
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root and unshare"
)
@pytest.mark.parametrize("there", ["there", "absent"])
def test_a_read_only_file_system_is_refused_before_anything_runs(tmp_path, there):
    """F07: the message says why and the hint names --home and $PETAL_HOME, whether the folder was there or not."""
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", READ_ONLY, str(tmp_path), there],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("this machine does not let tests mount")
    code, message, hint = done.stdout.strip().split("|")
    assert code == "home"
    assert "Read-only file system" in message
    assert "--home" in hint
    assert "PETAL_HOME" in hint


def test_a_folder_that_holds_other_files_is_refused_and_left_as_it_is(tmp_path):
    """C4: `--home .` in a project would hide the project from git; nothing is written there, and a way out is named."""
    (tmp_path / "pipeline.yaml").write_text("nodes: []")
    with pytest.raises(EnvironmentNotReady, match="no folder of state") as error:
        Home(tmp_path).create()
    assert str(tmp_path / ".petal") in (error.value.hint or "")
    assert [p.name for p in tmp_path.iterdir()] == ["pipeline.yaml"]


@pytest.mark.parametrize("there", [(), ("runs",), ("runs", "cache", "kept.txt"), (".gitignore", "spill")])
def test_an_empty_folder_and_one_that_was_a_home_are_taken(tmp_path, there):
    """A home goes on to be one, also with files of others in it, which git still sees; so does what is left of one."""
    for name in there:
        (tmp_path / name).touch() if "." in name else (tmp_path / name).mkdir()
    Home(tmp_path).create().create()
    assert (tmp_path / "runs").is_dir()
    assert (tmp_path / ".gitignore").exists() == ("kept.txt" not in there)


def test_an_empty_name_is_refused():
    """An empty name would stand for the current folder, and is most often a variable that is not set."""
    with pytest.raises(UsageError, match="is empty") as error:
        Home("")
    assert "--home ./.petal" in (error.value.hint or "")


CLOSED = """
import os, sys
from pathlib import Path
from petal.data.home import Home, find_home
from petal.errors import EnvironmentNotReady
place, closed, user = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.chdir("/")
if user:
    os.chown(place, user, user)
    os.setgid(user)
    os.setuid(user)
home = Home(place / ".petal").create()
(home.path / closed).chmod(0)
try:
    found = find_home(place, {})
    found.has(found.cache / "cache.db")
except EnvironmentNotReady as error:
    print(error.code, error.message, error.hint, sep="|")
finally:
    (home.path / closed).chmod(0o700)
"""


@pytest.mark.parametrize("closed", [".", "cache"])
def test_one_that_cannot_be_read_is_refused_with_a_way_out(closed):
    """A folder that is closed to its owner is no crash: what is wrong is said, and what would help."""
    place = tempfile.mkdtemp(dir="/tmp")  # the folders above those of pytest are closed to others
    try:
        done = subprocess.run(
            [sys.executable, "-c", CLOSED, place, closed, str(0 if os.geteuid() else 12345)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    code, message, hint = done.stdout.strip().split("|")
    assert code == "home"
    assert "Permission denied" in message
    assert "chmod 700" in hint


def test_a_link_is_refused_also_where_nothing_is_behind_it(tmp_path):
    """F81: who searches for a home is told why it is refused, and the command that takes the folder behind the link."""
    (tmp_path / "real").mkdir()
    (tmp_path / ".petal").symlink_to("real")
    with pytest.raises(
        EnvironmentNotReady, match="is a symbolic link, which could be made to lead elsewhere"
    ) as error:
        find_home(tmp_path, {})
    assert f"`--home {tmp_path / 'real'}`" in (error.value.hint or "")
