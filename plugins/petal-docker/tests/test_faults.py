"""What goes wrong around containers, each with its control: the same fault, undefended, does harm."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from petal_docker import attachment, container, engine, owners
from petal_docker.backend import Docker
from petal_docker.settings import DockerSettings

pytestmark = [pytest.mark.docker, pytest.mark.slow]

#: Notes each start in a folder of the driver's; the first waits to be killed, later ones answer.
_FIRST_WAITS = """
starts = len(os.listdir('/notes'))
open(f'/notes/{starts}', 'w').close()
if not starts:
    time.sleep(600)
answer = starts
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder in which containers leave notes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Wait for something; say whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def meanwhile(when: Callable[[], object], what: Callable[[], object]) -> Iterator[None]:
    """Do something on another thread, as soon as something else is the case."""

    def run() -> None:
        if until(when):
            what()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


# -- F60: the engine ends -------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
class TestTheEngineEnds:
    """F60: the engine is restarted, or killed, while a container runs.

    The docker SDK leaves a socket open whenever nobody listens, which happens here: it is collected within the test.
    """

    @pytest.fixture(autouse=True)
    def _private(
        self,
        program_image: str,
        private_docker_engine: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[None]:
        from tests.services.docker_engine import shared

        if program_image not in self._images(private_docker_engine):
            private_docker_engine.copy_image(program_image, shared())
        monkeypatch.setenv("DOCKER_HOST", private_docker_engine.host)
        yield
        gc.collect()

    @staticmethod
    def _images(found: Any) -> str:
        client = engine.connect()
        client.close()
        return subprocess.run(
            ["docker", "images", "--format", "{{.Repository}}"],
            env=found.environment(),
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    @pytest.mark.parametrize("kill", [False, True], ids=["in order", "with -9"])
    def test_a_pure_task_runs_again_and_nothing_is_left(
        self, kill: bool, does: Callable[..., Any], notes: Path, private_docker_engine: Any
    ) -> None:
        """The outcome is unknown; the container is swept before another attempt starts one."""
        with meanwhile(
            lambda: any(notes.iterdir()),
            lambda: private_docker_engine.restart(kill=kill),
        ):
            result = does(
                _FIRST_WAITS,
                mounts=[f"{notes}:/notes:rw"],
                policies={"retry": {"max_attempts": 3, "delay": 0.1}, "effects": "pure"},
            )
        assert result.check().outputs["it"] == 1
        assert result.nodes["it"].attempts == 2
        client = engine.connect()
        assert client.containers(all=True, filters={"label": "petal.run"}) == []
        client.close()

    def test_a_task_that_may_run_once_stops_and_says_so(
        self, does: Callable[..., Any], notes: Path, private_docker_engine: Any
    ) -> None:
        """`effects: once`: it is not tried again, whatever `retry` says, and its outcome is unknown."""
        with meanwhile(lambda: any(notes.iterdir()), lambda: private_docker_engine.restart(kill=True)):
            result = does(
                _FIRST_WAITS,
                mounts=[f"{notes}:/notes:rw"],
                policies={"retry": {"max_attempts": 3, "delay": 0.1}, "effects": "once"},
            )
        assert str(result.nodes["it"].status) == "unknown"
        assert [note.name for note in notes.iterdir()] == ["0"]


# -- F61: how a container ended -------------------------------------------------------------------------------


ENDS = {
    "sys.exit(0)": None,
    "sys.exit(1)": ("user", "exit code 1"),
    "sys.exit('no more rows')": ("user", "exit code 1"),
    "os.kill(os.getpid(), signal.SIGKILL)": ("infrastructure", "killed by SIGKILL (9)"),
    "os.kill(os.getpid(), signal.SIGSEGV)": ("infrastructure", "killed by SIGSEGV (11)"),
    "answer = len(bytearray(300 << 20))": ("out_of_memory", "64m of memory"),
    # its child needs too much, and it ends as it would for any reason: the engine knows why
    "subprocess.run([sys.executable, '-c', 'bytearray(300 << 20)'], check=True)": (
        "out_of_memory",
        "64m of memory",
    ),
}


@pytest.mark.parametrize("do", ENDS)
def test_an_exit_code_a_kill_and_the_end_of_memory_are_told_apart(does: Callable[..., Any], do: str) -> None:
    """F61: 137 alone would not say; the engine does."""
    error = does(do, mem_limit="64m").nodes["it"].error
    wanted = ENDS[do]
    if wanted is None:
        assert "no JSON" in error.message or "nothing" in error.message, error.message
        return
    assert str(error.kind) == wanted[0]
    assert wanted[1] in error.message
    if "no more rows" in do:
        assert "no more rows" in error.traceback


def test_a_container_that_somebody_kills_was_killed(
    does: Callable[..., Any], notes: Path, engine: Any, containers: Any
) -> None:
    """F61: from outside as well; a pure node goes on with its next attempt."""

    def kill() -> None:
        engine.kill(next(name for name in containers() if "-it-" in name and _mounts(engine, name, notes)))

    with meanwhile(lambda: any(notes.iterdir()), kill):
        result = does(
            _FIRST_WAITS,
            mounts=[f"{notes}:/notes:rw"],
            policies={"retry": {"max_attempts": 2, "delay": 0.1}, "effects": "pure"},
        )
    assert result.check().outputs["it"] == 1
    assert result.nodes["it"].attempts == 2


def _mounts(engine: Any, name: str, folder: Path) -> bool:
    return any(m["Source"] == str(folder) for m in engine.inspect_container(name)["Mounts"])


# -- F63: noise -----------------------------------------------------------------------------------------------


def test_a_hundred_megabytes_of_noise_are_cut_and_harm_nothing(
    does: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """F63: binary noise on standard error; its beginning and its end are kept, the reply is whole."""
    noise = "sys.stderr.buffer.write(b'first\\n' + bytes(range(256)) * (100 << 12) + b'\\nlast\\n'); answer = given"
    with caplog.at_level("INFO", "petal.node"):
        assert does(noise, list(range(1000))).check().outputs["it"] == list(range(1000))
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "first" in text
    assert "last" in text
    assert "bytes are left out" in text
    assert len(text) < 1 << 20


def test_noise_in_place_of_a_reply_is_an_error_that_shows_it(does: Callable[..., Any]) -> None:
    """F63, control: plain JSON has no frames, so noise on standard output spoils the reply, and is never taken for one."""
    error = does("print('loading the model'); answer = 1").nodes["it"].error
    assert "loading the model" in error.message
    error = does("sys.stdout.write('x' * (40 << 20))").nodes["it"].error
    assert "32 MiB" in error.message


# -- F64: silence ---------------------------------------------------------------------------------------------


def test_a_silent_container_is_not_a_dead_one(
    answer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F64: the engine is asked, and says that it runs."""
    monkeypatch.setattr(container, "_SILENCE", 0.1)
    assert answer("time.sleep(2); answer = 'done'") == "done"


def test_a_dead_container_is_not_a_silent_one(
    does: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F64: a connection whose end is never seen (control: nobody asks the engine) does not make the run wait."""
    pump = attachment.Attachment.pump

    def deaf(self: Any, given: Any, *rest: Any) -> int:
        if given:
            return pump(self, given, *rest)
        time.sleep(0.05)
        return -1

    monkeypatch.setattr(attachment.Attachment, "pump", deaf)
    monkeypatch.setattr(container, "_SILENCE", 0.5)
    error = does("sys.exit(3)", policies={"timeout": 20}).nodes["it"].error
    assert "exit code 3" in error.message
    monkeypatch.setattr(container, "_SILENCE", 600.0)
    error = does("sys.exit(3)", policies={"timeout": 3}).nodes["it"].error
    assert error.code == "timeout"


def test_what_ignores_sigterm_is_killed_when_its_time_is_over(
    does: Callable[..., Any], notes: Path, engine: Any, containers: Any
) -> None:
    """F64: a hanging container does not outlive its time-out; control: SIGTERM alone does not end it."""
    alive: list[bool] = []

    def ask() -> None:
        name = next(name for name in containers() if "-it-" in name and _mounts(engine, name, notes))
        engine.kill(name, signal="SIGTERM")
        time.sleep(0.5)
        alive.append(engine.inspect_container(name)["State"]["Running"])

    ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('/notes/on', 'w').close(); time.sleep(600)"
    with meanwhile(lambda: any(notes.iterdir()), ask):
        result = does(ignores, mounts=[f"{notes}:/notes:rw"], policies={"timeout": 4})
    assert alive == [True]
    error = result.nodes["it"].error
    assert error.code == "timeout"
    assert "4s" in error.message
    assert containers(result.run_id) == []


# -- F65: the runner dies -------------------------------------------------------------------------------------


_RUNNER = """
import sys
from petal import Pipeline, node
from petal.testing import tasks
from petal.testing.subject import giver
kind, image, guard = sys.argv[1:4]
if guard != "guarded":
    from petal_docker.guard import GUARD
    GUARD.watch = lambda name: None
if guard == "elsewhere":
    from petal_docker import owners
    owners.socket.gethostname = lambda: "elsewhere"
execution = {"backend": "docker", "image": image}
if kind == "program":
    execution["entrypoint"] = ["python3", "-c", "import time; time.sleep(600)"]
    it = node("Sleeps", id="it", inputs={"value": "one"}, policies={"execution": execution})
else:
    it = node(tasks.sleeps, id="it", inputs={"value": "one"}, policies={"execution": execution})
Pipeline.of(node(giver(1), id="one"), it, name="runner").run()
"""


class Runner:
    """A process that runs a pipeline whose container works for ten minutes.

    Its container is ``guarded``; or ``swept``, by the next session that is opened, of whichever test; or, as one of a
    machine ``elsewhere``, nobody here removes it.
    """

    def __init__(self, folder: Path, kind: str, image: str, guard: str, engine: Any) -> None:
        script = folder / "runner.py"
        script.write_text(_RUNNER)
        self._engine = engine
        self._process = subprocess.Popen(
            [sys.executable, str(script), kind, image, guard], cwd=folder, start_new_session=True
        )
        assert until(self.state)
        assert until(lambda: self.state() == "running")
        if kind == "worker":
            time.sleep(2.0)  # until the worker has its task; it ends in either case

    def state(self) -> str:
        """Return the state of its container, "" if there is none."""
        found = self._engine.containers(all=True, filters={"label": "petal.owner"})
        return next((str(c["State"]) for c in found if self._owns(c)), "")

    def kill(self) -> None:
        """Kill it with -9."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def remove(self) -> None:
        """Remove its container."""
        for found in self._engine.containers(all=True, filters={"label": "petal.owner"}):
            if self._owns(found):
                self._engine.remove_container(found["Id"], force=True)

    def _owns(self, found: Any) -> bool:
        return f'"pid": {self._process.pid},' in found["Labels"]["petal.owner"]


def test_the_containers_of_programs_end_with_their_runner(
    tmp_path: Path, program_image: str, engine: Any
) -> None:
    """F65: a runner is killed with -9, and the guard removes its container; control: without the guard it runs on."""
    guarded = Runner(tmp_path, "program", program_image, "guarded", engine)
    guarded.kill()
    assert until(lambda: not guarded.state(), 30)
    alone = Runner(tmp_path, "program", program_image, "elsewhere", engine)
    alone.kill()
    time.sleep(3.0)
    assert alone.state() == "running"
    alone.remove()


def test_workers_end_with_their_runner_and_the_next_start_sweeps_them(
    tmp_path: Path, worker_image: str, engine: Any
) -> None:
    """F65: a worker ends in the middle of its task; the next session removes its container."""
    runner = Runner(tmp_path, "worker", worker_image, "guarded", engine)
    runner.kill()
    assert until(lambda: runner.state() != "running", 30)
    Docker().open(DockerSettings(image=worker_image), None).close(1.0)
    assert runner.state() == ""


def test_containers_of_the_living_are_left_alone(tmp_path: Path, program_image: str, engine: Any) -> None:
    """F65: another run's container is no orphan; control: it is one as soon as its runner is dead."""
    runner = Runner(tmp_path, "program", program_image, "swept", engine)
    owners.sweep(engine)
    assert runner.state() == "running"
    runner.kill()
    owners.sweep(engine)
    assert runner.state() == ""
