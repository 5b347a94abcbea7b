"""Stores by URL, and the folder store: whole values alone, private, and nothing outside of the folder (see also StoreContract)."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petal import EnvironmentNotReady, UsageError, hookimpl, open_store
from petal.data.folder_store import FolderStore
from petal.data.stores import opener_of, storing
from petal.plugin.manager import PluginManager

MANY = 4 << 20


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_is_made_before_something_is_put(tmp_path: Path) -> None:
    """A store that is only asked makes no folder."""
    store = open_store((tmp_path / "x").as_uri())
    assert store.get("key") is None
    assert not store.has("key")
    assert not store.delete("key")
    assert list(store.keys()) == []
    assert store.stats().entries == 0
    assert not (tmp_path / "x").exists()


def test_folder_and_values_are_the_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        FolderStore(tmp_path / "x").put("out:key", b"value")
    finally:
        os.umask(before)
    (value,) = (tmp_path / "x").iterdir()
    assert (mode(tmp_path / "x"), mode(value)) == (0o700, 0o600)


def test_a_folder_that_a_group_shares_stays_shared(tmp_path: Path) -> None:
    """Its files are as open as the folder, but not to be run."""
    tmp_path.chmod(0o775)
    FolderStore(tmp_path).put("key", b"value")
    assert mode(tmp_path / "key") == 0o664


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """F81: anybody could put there what others read."""
    tmp_path.chmod(0o777)
    with pytest.raises(OSError, match="everybody may write"):
        FolderStore(tmp_path).put("key", b"value")
    tmp_path.chmod(0o755)
    assert FolderStore(tmp_path).put("key", b"value")


@pytest.mark.parametrize("key", ["", "../x", "a/b", "a_b", ".hidden", "x" * 201, "a\0b", "é"])
def test_what_is_no_key_is_refused(tmp_path: Path, key: str) -> None:
    """F79: a key is a name in the folder, whatever it is, for every method."""
    store = FolderStore(tmp_path / "x")
    for call in (
        store.get,
        store.has,
        store.delete,
        lambda k: store.put(k, b""),
        lambda k: store.add(k, b""),
    ):
        with pytest.raises(OSError, match="is no key"):
            call(key)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A file that leads elsewhere gives nothing of what is there."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "x").mkdir(mode=0o700)
    (tmp_path / "x" / "key").symlink_to(tmp_path / "secret")
    store = FolderStore(tmp_path / "x")
    with pytest.raises(OSError, match="symbolic links"):
        store.get("key")
    assert list(store.keys()) == []


WRITER = """
import sys
from petal.data.folder_store import FolderStore
store, data = FolderStore(sys.argv[1]), [bytes([65 + i % 2]) * {many} for i in range(2)]
print("ready", flush=True)
while True:
    store.put("key", data[0])
    store.put("key", data[1])
"""


def test_a_reader_sees_whole_values_also_when_the_writer_is_killed(tmp_path: Path) -> None:
    """A value is the old one or the new one; what a killed writer had begun is no value, and is swept a day later."""
    for _ in range(5):
        code = WRITER.format(many=MANY)
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            store, seen = FolderStore(tmp_path), 0
            until = time.monotonic() + 20
            while seen < 20 and time.monotonic() < until:
                found = store.get("key")
                if found is not None:
                    data = found if isinstance(found, bytes) else found.read()
                    if not isinstance(found, bytes):
                        found.close()
                    assert data in (b"A" * MANY, b"B" * MANY)
                    seen += 1
            writer.send_signal(signal.SIGKILL)
        assert seen == 20
        assert list(store.keys()) == ["key"]
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 90_000,) * 2)
    store.drop_older(1e9)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_only_what_is_old_is_dropped(tmp_path: Path) -> None:
    """Values that are older than asked for go; others, and files that are none of the store's, stay."""
    store = FolderStore(tmp_path)
    for name in ("old", "new"):
        store.put(name, b"x")
    (tmp_path / "README.md").write_text("not a value")
    for name in ("old", "README.md"):
        os.utime(tmp_path / name, (time.time() - 100,) * 2)
    assert store.drop_older(50) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "new"]


@pytest.mark.parametrize(
    "url",
    ["file://host/folder", "file://folder", "file:///x?y=1", "file:///x#y", "folder", "/folder", "s3:", ""],
)
def test_what_is_no_url_of_a_store_is_refused(url: str) -> None:
    """The error shows how one is written."""
    with pytest.raises(UsageError) as found:
        open_store(url)
    assert "file:///" in (found.value.hint or "")


def test_a_url_may_have_escapes(tmp_path: Path) -> None:
    """A folder with spaces is meant by `%20`, as `Path.as_uri` writes it."""
    folder = tmp_path / "a folder"
    open_store(folder.as_uri()).put("key", b"value")
    assert (folder / "key").read_bytes() == b"value"


def test_the_package_of_a_scheme_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`s3://` without petal-aws says what to install; of other schemes nobody knows."""
    monkeypatch.setattr(PluginManager, "find", lambda *_: None)
    with pytest.raises(EnvironmentNotReady) as found:
        open_store("s3://bucket/prefix")
    assert "pip install petal-aws" in (found.value.hint or "")
    with pytest.raises(EnvironmentNotReady) as found:
        open_store("gs://bucket/prefix")
    assert "petal plugins" in (found.value.hint or "")


class Brings:
    @hookimpl
    def petal_stores(self):  # type: ignore[no-untyped-def]
        return {"mem": lambda url: url}


def test_stores_of_a_session_are_found_while_it_opens_something() -> None:
    """Within that a plugin that was registered with it is asked; outside of it is not known."""
    plugins = PluginManager()
    plugins.register(Brings())
    with storing(plugins):
        assert open_store("mem://x/y") == "mem://x/y"  # type: ignore[comparison-overlap]
    assert opener_of("MEM://x", plugins)("mem://x") == "mem://x"  # type: ignore[comparison-overlap]
    with pytest.raises(EnvironmentNotReady):
        open_store("mem://x/y")
