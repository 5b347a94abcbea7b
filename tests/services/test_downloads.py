"""What pip brings is kept, made once, checked, and missed with words that help."""

from __future__ import annotations

import platform
import sys
import zipfile
from pathlib import Path

import pytest

from tests.services import downloads
from tests.services.packages import Unavailable


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "petal-tests"


def test_a_python_has_only_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """It is made once; another set of packages takes its place."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(downloads, "_pip", lambda *arguments: asked.append(arguments))
    first = downloads.python_with("some", "a==1")
    assert downloads.python_with("some", "a==1") == first
    assert asked == [("--python", str(first), "install", "a==1")]
    assert sorted(p.name for p in (first.parents[1] / "lib").glob("python*/site-packages/*")) == []
    second = downloads.python_with("some", "a==2")
    assert not first.exists()
    assert second.exists()
    assert second.is_relative_to(cache)


def test_one_that_was_not_finished_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*arguments: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_pip", dies)
    with pytest.raises(KeyboardInterrupt):
        downloads.python_with("some", "a==1")
    done: list[object] = []
    monkeypatch.setattr(downloads, "_pip", lambda *arguments: done.append(arguments))
    downloads.python_with("some", "a==1")
    assert len(done) == 1


def test_one_whose_python_is_gone_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update of Python: what its `bin/python` leads to is no longer there."""
    monkeypatch.setattr(downloads, "_pip", lambda *arguments: None)
    python = downloads.python_with("some", "a==1")
    python.unlink()
    python.symlink_to("/nonesuch/python")
    assert downloads.python_with("some", "a==1").exists()


def test_what_pip_says_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip is told to look nowhere."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(Unavailable, match=r"(?s)pip could not fetch petal-nonesuch==1:.*petal-nonesuch==1"):
        downloads.python_with("some", "petal-nonesuch==1")


def test_the_emulator_is_the_one_that_is_known(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Another file under its name is not run."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    def brings(*arguments: str) -> None:
        folder = next(a for a in arguments if a.startswith("--dest=")).removeprefix("--dest=")
        with zipfile.ZipFile(Path(folder, "some.whl"), "w") as files:
            files.writestr("samcli/local/rapid/aws-lambda-rie-x86_64", "#!/bin/sh\n")

    monkeypatch.setattr(downloads, "_pip", brings)
    with pytest.raises(Unavailable, match="is not the one that the tests know"):
        downloads.emulator()
    assert list(cache.glob("aws-lambda-rie-*")) == []


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_other_machines_have_none(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(Unavailable, match=f"this is {system} on {machine}"):
        downloads.emulator()
