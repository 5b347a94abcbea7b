"""Observers: told in order on threads of their own, dropped from where they are too slow, never in the way."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time

from petal import Pipeline, Session, hookimpl, operator
from petal.plugin import observers as module
from petal.plugin.manager import PluginManager
from petal.plugin.observers import MOST_WAITING, finish
from petal.spec.event import Event, RunFinished, Status
from tests.cli.conftest import ENVIRONMENT, PETAL

END = RunFinished("run", 0.0, Status.SUCCEEDED, 1.0, {})


@operator
def one() -> int:
    return 1


def watching(function):
    """Make a plugin of one function of an event."""

    class Watch:
        @hookimpl
        def petal_event(self, event):
            function(event)

    return Watch


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("petal-observer")}


def test_events_beyond_the_limit_are_dropped_with_a_warning():
    """One that stands still misses what does not fit in its queue, never the end of the run, and is told so once."""
    go, heard = threading.Event(), []

    def watch(event):
        go.wait()
        heard.append(event)

    manager = PluginManager()
    manager.register(watching(watch))
    (observer,) = manager.observers()
    events = [Event("run", float(i)) for i in range(MOST_WAITING + 10)]
    for event in events:
        observer.emit(event)
        if event is events[0]:
            while observer._waiting:  # until it has taken the first, which waits in it and not in the queue
                time.sleep(0.001)
    observer.emit(END)
    go.set()
    finish([observer])
    assert heard == [*events[: MOST_WAITING + 1], END]
    (warning,) = manager.warnings
    assert warning == "plugin `Watch`: petal_event missed 9 events: it fell more than 10,000 behind the run"


def test_all_share_one_time_limit(monkeypatch):
    """However many observers hang, the end of a run is held up once."""
    monkeypatch.setattr(module, "GRACE", 0.3)
    go = threading.Event()
    manager = PluginManager()
    for i in range(20):
        manager.register(watching(lambda event: go.wait()), f"watch-{i}")
    found = manager.observers()
    for observer in found:
        observer.emit(END)
    begin = time.monotonic()
    finish(found)
    assert time.monotonic() - begin < 20 * 0.3 / 2
    assert len(manager.warnings) == 20
    go.set()
    while threads():
        time.sleep(0.01)


def test_nothing_is_left_after_a_run():
    """Each run has threads of its own, which end with it; without events there is none."""
    heard = []
    session = Session()
    session.register(watching(heard.append))
    for _ in range(5):
        Pipeline.of(one, session=session).run().check()
        assert threads() == set()
    assert [type(e).__name__ for e in heard] == [
        "RunStarted",
        "NodeStarted",
        "NodeFinished",
        "RunFinished",
    ] * 5
    finish(session.plugins.observers())
    assert threads() == set()


def test_a_failure_is_logged_where_no_command_line_shows_it(caplog):
    """With the Python API, what was left out is in the log, once."""

    def watch(event):
        raise ValueError("disk full")

    session = Session()
    session.register(watching(watch))
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            Pipeline.of(one, session=session).run().check()
    told = [r.message for r in caplog.records if "petal_event failed" in r.message]
    assert told == ["plugin `Watch`: petal_event failed and is switched off: ValueError: disk full"]


def test_prints_of_observers_go_to_stderr_and_of_nodes_to_stdout(capsys):
    """Only what observers print is turned aside, also while nodes print; afterwards stdout is what it was."""
    stdout = sys.stdout

    @operator
    def prints() -> int:
        for i in range(200):
            print("node", i)
            time.sleep(0.0001)
        return 1

    session = Session()
    for i in range(3):
        session.register(watching(lambda event: [print("observer") for _ in range(200)]), f"watch-{i}")
    Pipeline.of(prints, session=session).run().check()
    out, err = capsys.readouterr()
    assert out == "".join(f"node {i}\n" for i in range(200))
    assert err.count("observer\n") == 3 * 4 * 200
    assert sys.stdout is stdout


def test_an_interrupted_run_ends_beside_an_observer_that_hangs(tmp_path):
    """SIGINT stops the run with 130, soon, although the observer never returns."""
    (tmp_path / "slow.py").write_text(
        "import time\nfrom petal import hookimpl, operator, register_plugin, Pipeline, Session\n"
        "class Watch:\n    @hookimpl\n    def petal_event(self, event):\n        time.sleep(600)\n"
        "@operator\ndef naps() -> int:\n"
        "    open('started', 'w').close()\n    time.sleep(600)\n    return 1\n"
        "session = Session()\nsession.register(Watch)\n"
        "pipeline = Pipeline.of(naps, session=session)\n"
    )
    process = subprocess.Popen(
        [*PETAL, "run", "slow.py"], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "started").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopped by SIGINT" in err


def test_codecs_are_found_by_name():
    """A codec is found by the name that stands beside its bytes, and what it writes comes back."""

    class Complex:
        name = "complex-1"

        def takes(self, value):
            return type(value) is complex

        def encode(self, value):
            return f"{value.real!r} {value.imag!r}".encode()

        def decode(self, data):
            return complex(*map(float, bytes(data).split()))

    class Brings:
        @hookimpl
        def petal_codecs(self):
            return [Complex()]

    manager = PluginManager()
    manager.register(Brings)
    codec = manager.find("codec", "complex-1")
    assert codec.takes(1j)
    assert codec.decode(memoryview(codec.encode(0.1 - 2j))) == 0.1 - 2j
    assert manager.find("codec", "complex-2") is None
