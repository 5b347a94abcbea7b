"""What a container may do: each lock is seen from inside a container, and seen open where its setting is taken away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from petal_docker import container, session
from petal_docker.lockdown import host_settings

from petal.errors import EnvironmentNotReady

pytestmark = pytest.mark.docker

_STATUS = "answer = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)"
_WRITES = """
try:
    open({path!r}, 'wb').write(bytes({size}))
    answer = 'written'
except OSError as error:
    answer = error.strerror
"""
_FORKS = """
children = []
try:
    while len(children) < 300:
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        children.append(child)
    answer = 'all'
except OSError:
    answer = 'refused'
for child in children:
    os.kill(child, 9)
"""
_CPUS = """
answer = 'none'
for path in ('/sys/fs/cgroup/cpu.max', '/sys/fs/cgroup/cpu/cpu.cfs_quota_us'):
    if os.path.exists(path):
        found = open(path).read().split()[0]
        answer = found if found not in ('max', '-1') else 'none'
"""
_EXECUTES = """
try:
    with open('/tmp/it.sh', 'w') as file:
        file.write('#!/bin/sh\\n')
    os.chmod('/tmp/it.sh', 0o755)
    answer = subprocess.run(['/tmp/it.sh']).returncode
except OSError as error:
    answer = error.strerror
"""
_OPEN_FILES = "import resource; answer = resource.getrlimit(resource.RLIMIT_NOFILE)[1]"

#: What is looked at: the arguments of the engine that lock, what is done inside, what comes of it, and what came without.
LOCKS = {
    "no network": ("network_mode", "answer = sorted(os.listdir('/sys/class/net'))", ["lo"]),
    "nothing is written": ("read_only", _WRITES.format(path="/var/tmp/it", size=1), "Read-only file system"),
    "but in /tmp": ("tmpfs", _WRITES.format(path="/tmp/it", size=1), "written"),
    "no program in /tmp": ("tmpfs read_only", _EXECUTES, "Permission denied"),
    "not more than 64m there": (
        "tmpfs read_only",
        _WRITES.format(path="/tmp/it", size=65 << 20),
        "No space left on device",
    ),
    "processes": ("pids_limit", _FORKS, "refused"),
    "cores": ("nano_cpus", _CPUS, "100000"),
    "open files": ("ulimits", _OPEN_FILES, 1024),
    "children that nobody waits for": ("init", "answer = os.getpid() == 1", False),
    "no new privileges": ("security_opt", _STATUS + "['NoNewPrivs']", "1"),
    "no capabilities": ("cap_drop", _STATUS + "['CapBnd']", "0" * 16),
}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that takes one lock away."""

    def take(name: str) -> None:
        def open_settings(settings: Any) -> dict[str, Any]:
            found = host_settings(settings)
            return {key: value for key, value in found.items() if key not in name.split()}

        monkeypatch.setattr(session, "host_settings", open_settings)

    return take


@pytest.mark.parametrize("lock", LOCKS)
def test_each_lock_holds_and_is_the_setting_s(
    lock: str, answer: Callable[..., Any], without: Callable[[str], None]
) -> None:
    """A program in a container with default settings finds it locked; without the setting it finds it open."""
    name, probe, locked = LOCKS[lock]
    assert answer(probe) == locked
    without(name)
    assert answer(probe) != locked


def test_it_is_nobody_unless_said(answer: Callable[..., Any]) -> None:
    """The program is not root."""
    assert answer("answer = [os.getuid(), os.getgid(), os.getgroups()]") == [65534, 65534, [65534]]
    assert answer("answer = os.getuid()", user=0) == 0


def test_memory_holds(does: Callable[..., Any], without: Callable[[str], None]) -> None:
    """A program that needs more memory than it may have is killed; control: without the setting it is not."""
    probe = "answer = len(bytearray(300 << 20))"
    error = does(probe, mem_limit="64m").nodes["it"].error
    assert str(error.kind) == "out_of_memory"
    assert "64m" in error.message
    without("mem_limit memswap_limit")
    assert does(probe, mem_limit="64m").check().outputs["it"] == 300 << 20


def test_nothing_of_this_machine_s_environment_is_seen(
    answer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither its variables nor the proxies that the user of this machine has told Docker's own client of."""
    proxy = "http://somebody:password@proxy.example:3128"
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": proxy}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("SAID_HERE", "here")
    probe = "answer = dict(os.environ)"
    seen = answer(probe)
    assert set(seen) <= {
        "HOME",
        "HOSTNAME",
        "LANG",
        "PATH",
        "PETAL_PARAMS",
        "PYTHONDONTWRITEBYTECODE",
        "TRACEPARENT",
    }
    assert proxy not in seen.values()
    assert answer(probe, env={"SAID_HERE": "there"})["SAID_HERE"] == "there"
    made = container.Container._make
    monkeypatch.setattr(container.Container, "_make", _with_proxies(made))
    assert proxy in answer(probe).values()


def _with_proxies(made: Callable[..., None]) -> Callable[..., None]:
    """Make containers as docker-py does by default."""

    def make(self: Any, *arguments: Any) -> None:
        create = self._client.create_container

        def all_of_it(*given: Any, **more: Any) -> Any:
            return create(*given, **{**more, "use_config_proxy": True})

        self._client.create_container = all_of_it
        try:
            made(self, *arguments)
        finally:
            del self._client.create_container

    return make


def test_what_is_mounted_can_be_read_and_not_written(answer: Callable[..., Any], tmp_path: Path) -> None:
    """Mounts are read-only unless they say `rw`."""
    tmp_path.chmod(0o777)
    (tmp_path / "given").write_text("said")
    probe = _WRITES.format(path="/data/it", size=1)
    assert answer("answer = open('/data/given').read()", mounts=[f"{tmp_path}:/data"]) == "said"
    assert answer(probe, mounts=[f"{tmp_path}:/data"]) == "Read-only file system"
    assert answer(probe, mounts=[f"{tmp_path}:/data:rw"]) == "written"
    assert (tmp_path / "it").stat().st_size == 1


def test_the_engine_itself_is_never_mounted(does: Callable[..., Any], docker_engine: str) -> None:
    """Neither its socket nor a folder above it: whoever has that has the machine."""
    socket = Path(docker_engine.removeprefix("unix://"))
    for source in (socket, socket.parent, "/"):
        with pytest.raises(EnvironmentNotReady, match="command the Docker Engine"):
            does("answer = 1", mounts=[f"{source}:/engine"])
    with pytest.raises(EnvironmentNotReady, match="is not there"):
        does("answer = 1", mounts=["/no/such/folder:/data"])
