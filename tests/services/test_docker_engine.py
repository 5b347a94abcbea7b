"""The tests' own Docker Engine: started once however often, whatever a killed one left, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import base_image, leftovers
from tests.services.docker_engine import DockerEngine, shared
from tests.services.packages import Unavailable, find
from tests.services.service import cache

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

SLEEP = ["sleep", "600"]


@pytest.fixture
def engine(private_docker_engine: DockerEngine) -> Iterator[DockerEngine]:
    """A running engine of this module alone."""
    private_docker_engine.start()
    yield private_docker_engine
    for container in private_docker_engine.api.containers() if private_docker_engine.is_running() else []:
        private_docker_engine.api.remove_container(container)


def run_container(engine: DockerEngine, *command: str) -> str:
    """Start a container of the base image and return its id."""
    body = {"Image": base_image.NAME, "Cmd": list(command), "HostConfig": {"Init": True}}
    headers = {"Content-Type": "application/json"}
    made = engine.api.call("POST", "/containers/create", json.dumps(body), headers)
    container = str(json.loads(made)["Id"])
    engine.api.call("POST", f"/containers/{container}/start")
    return container


def state(engine: DockerEngine, container: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(engine.api.call("GET", f"/containers/{container}/json"))["State"]
    return found


def own(engine: DockerEngine) -> list[str]:
    """Return the options of the command line that mean this engine."""
    return ["--only", "docker", "--folder", str(engine.folder)]


def services(*arguments: str, engine: DockerEngine) -> subprocess.CompletedProcess[str]:
    """Run the command line for an engine."""
    return subprocess.run(
        [sys.executable, "-m", "tests.services", *own(engine), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


# -- start ----------------------------------------------------------------------------------------------------


def test_a_second_start_finds_the_first(engine: DockerEngine) -> None:
    daemon = engine.daemon()
    assert daemon is not None
    assert engine.start() == engine.host == DockerEngine(engine.folder).start()
    assert engine.daemon() == daemon


def test_starts_at_the_same_time_make_one_engine(engine: DockerEngine) -> None:
    engine.stop()
    starts = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.services", *own(engine), "start"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [s.communicate()[0].strip() for s in starts] == [f"DOCKER_HOST={engine.host}"] * 3
    programs = [leftovers.program(p) for p in leftovers.processes(engine.run_folder, engine.name)]
    assert sorted(programs) == ["containerd", "dockerd"]


def test_it_starts_after_its_daemon_was_killed_under_a_container(engine: DockerEngine) -> None:
    run_container(engine, *SLEEP)
    daemon = engine.daemon()
    assert daemon is not None
    os.kill(daemon, signal.SIGKILL)
    assert leftovers.kill([daemon], signal.SIGKILL, 5)
    assert not engine.is_running()
    assert engine.left()
    engine.start()
    assert engine.daemon() not in (None, daemon)
    assert not any(
        b"600" in Path(f"/proc/{p}/cmdline").read_bytes()
        for p in leftovers.processes(engine.run_folder, engine.name)
    )


def test_it_starts_over_a_stale_socket_and_the_pid_of_another_process(engine: DockerEngine) -> None:
    engine.stop()
    engine.run_folder.mkdir(mode=0o700)
    engine.socket.write_bytes(b"")
    with subprocess.Popen(SLEEP) as other:
        try:
            (engine.run_folder / "docker.pid").write_text(str(other.pid))
            engine.start()
            assert other.poll() is None
            assert engine.daemon() not in (None, other.pid)
        finally:
            other.kill()


def test_a_daemon_that_cannot_start_says_why(engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.stop()
    options = engine._options
    monkeypatch.setattr(engine, "_options", lambda file: [*options(file), "--storage-driver=nonesuch"])
    with pytest.raises(Unavailable, match=r"(?s)dockerd ended; its log, .*dockerd\.log, ends with.*nonesuch"):
        engine.start()
    assert engine.left() == []


# -- stop -----------------------------------------------------------------------------------------------------


def firewall() -> str:
    """Return the machine's rules and whether it forwards, as far as they can be read."""
    tool = find("iptables-save")
    rules = subprocess.run([tool], capture_output=True, text=True, check=False).stdout if tool else ""
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    return forward + "\n".join(line for line in rules.splitlines() if not line.startswith(("#", ":")))


def test_a_stop_leaves_nothing(engine: DockerEngine) -> None:
    """Neither processes nor mounts, control groups, a bridge, rules of the firewall; and stopping twice is fine."""
    engine.stop()
    rules = firewall()
    engine.start()
    run_container(engine, *SLEEP)
    assert firewall() == rules
    kinds = {line.partition(" ")[0] for line in engine.left()}
    assert kinds == {"process", "mount", "control", "bridge", "folder"}  # the control: it looks at these
    for _ in range(2):
        engine.stop()
        assert engine.left() == []
        assert not engine.is_running()
        assert firewall() == rules


def test_a_stop_after_a_kill_leaves_nothing_either(engine: DockerEngine) -> None:
    run_container(engine, *SLEEP)
    sockets = leftovers.shim_sockets(engine.run_folder)
    assert sockets
    for pid in leftovers.processes(engine.run_folder, engine.name):
        if leftovers.program(pid) in ("dockerd", "containerd"):
            os.kill(pid, signal.SIGKILL)
    engine.stop()
    assert engine.left() == []
    assert not any(path.exists() for path in sockets)


def test_the_image_survives_a_stop(engine: DockerEngine) -> None:
    path = f"/images/{base_image.NAME}/json"
    before = engine.api.call("GET", path)
    engine.stop()
    engine.start()
    assert engine.api.call("GET", path) == before


# -- restart --------------------------------------------------------------------------------------------------


def test_a_restart_stops_containers_and_keeps_them(engine: DockerEngine) -> None:
    container, daemon = run_container(engine, *SLEEP), engine.daemon()
    assert engine.restart() == engine.host
    assert engine.daemon() not in (None, daemon)
    assert state(engine, container)["Status"] == "exited"


def test_a_killed_daemon_finds_its_containers(engine: DockerEngine) -> None:
    container, daemon = run_container(engine, *SLEEP), engine.daemon()
    engine.restart(kill=True)
    assert engine.daemon() not in (None, daemon)
    assert container in engine.api.containers()
    assert state(engine, container)["Status"] == "exited"


# -- who uses it ----------------------------------------------------------------------------------------------


def test_the_last_to_let_go_stops_it(engine: DockerEngine) -> None:
    engine.stop()
    one, other = engine.hold(), engine.hold()
    engine.start(keep=False)
    engine.let_go(one)
    assert engine.is_running()
    engine.let_go(other)
    assert engine.left() == []


def test_who_is_killed_holds_no_longer(engine: DockerEngine) -> None:
    engine.stop()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(engine.folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        mine = engine.hold()
        engine.start(keep=False)
        holder.kill()
    engine.let_go(mine)
    assert not engine.is_running()


HOLDER = """
import pathlib, sys, time
from tests.services.docker_engine import DockerEngine
hold = DockerEngine(pathlib.Path(sys.argv[1])).hold()
print("held", flush=True)
time.sleep(600)
"""


def test_one_started_to_stay_stays(engine: DockerEngine) -> None:
    engine.let_go(engine.hold())
    assert engine.is_running()


# -- the image, the command line ------------------------------------------------------------------------------


def test_the_image_has_python_and_pip(engine: DockerEngine) -> None:
    assert engine.image() == "petal-test/python:3.11"
    container = run_container(
        engine, "sh", "-c", "python --version && pip --version && python3 -c 'import ssl'"
    )
    engine.api.call("POST", f"/containers/{container}/wait")
    assert state(engine, container)["ExitCode"] == 0
    said = engine.api.call("GET", f"/containers/{container}/logs?stdout=1&stderr=1")
    assert b"Python 3.11" in said
    assert b"pip " in said


def test_an_unknown_image_is_a_mistake(engine: DockerEngine) -> None:
    with pytest.raises(KeyError, match=r"petal-test/python:3\.11, not nonesuch"):
        engine.image("nonesuch")


def test_an_image_is_copied_from_engine_to_engine(docker_engine: str, engine: DockerEngine) -> None:
    name = "petal-test/copied:1"
    query = "repo=petal-test/copied&tag=1"
    shared().api.call("POST", f"/images/{base_image.NAME}/tag?{query}")
    try:
        assert engine.copy_image(name, shared()) == name
        assert engine.api.label(name, base_image.LABEL) == base_image.RECIPE
    finally:
        shared().api.call("DELETE", f"/images/{name}")
        engine.api.call("DELETE", f"/images/{name}")


def test_the_command_line(engine: DockerEngine) -> None:
    """Status says by its exit code whether the engine runs; run gives a command its address, and its own exit code."""
    engine.stop()
    assert services("status", engine=engine).returncode == 1
    code = "import os, sys; print(os.environ['DOCKER_HOST']); sys.exit(7)"
    done = services("run", sys.executable, "-c", code, engine=engine)
    assert (done.returncode, done.stdout.strip()) == (7, engine.host)
    assert engine.left() == []
    assert services("start", engine=engine).stdout.strip() == f"DOCKER_HOST={engine.host}"
    done = services("status", engine=engine)
    assert done.returncode == 0
    assert engine.host in done.stdout
    assert services("stop", engine=engine).returncode == 0
    assert engine.left() == []


# -- machines that cannot -------------------------------------------------------------------------------------


def test_only_root_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.services.docker_engine.ensure", lambda commands: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="dockerd runs as root only"):
        DockerEngine(tmp_path).start()


def test_the_sockets_folder_is_nobody_elses(engine: DockerEngine, tmp_path: Path) -> None:
    engine.stop()
    engine.run_folder.symlink_to(tmp_path)
    try:
        with pytest.raises(Unavailable, match="belongs to somebody else"):
            engine.start()
    finally:
        engine.run_folder.unlink(missing_ok=True)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "petal-tests"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache() == Path.home() / ".cache/petal-tests"
