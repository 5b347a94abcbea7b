"""The pool of worker processes: what goes in comes back, who does it, what it prints, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

import pytest

from petal.errors import TaskLost
from petal.execution.pool import Pool
from petal.execution.pool_files import Folder
from petal.execution.pool_member import KEPT
from tests.execution.conftest import settles
from tests.execution.pools import Note, alive, given, gone, pause, pids_in, pool_of, said

MIB = 1 << 20


@pytest.mark.parametrize(
    "sizes",
    [(), (0,), (1, 0, 2), (MIB,), (MIB, 1), (3 * MIB, 0, 7), (400_000,) * 4, (3,) * 5_000],
    ids=["none", "empty", "few", "at-limit", "above-limit", "large", "large-in-sum", "many"],
)
def test_attachments_come_back_as_they_went(sizes: tuple[int, ...], tmp_path: Path) -> None:
    """Attachments of every size come back byte for byte, through the socket or as a file."""
    parts = tuple(os.urandom(size) for size in sizes)
    with pool_of(tmp_path) as pool:
        note = Note("echo", parts=parts)
        for _ in range(2):
            answer = pool.submit(note).result()
            assert answer.header == note.header
            assert [bytes(part) for part in answer.parts] == list(parts)
            assert all(part.readonly for part in answer.parts)


def test_attachments_in_a_file_are_not_copied(tmp_path: Path) -> None:
    """A payload that is in a file already is read from there."""
    data = os.urandom(2 * MIB)
    (tmp_path / "parts").write_bytes(data)
    lie = (bytes(MIB), bytes(MIB))
    with pool_of(tmp_path) as pool:
        answer = pool.submit(Note("echo", parts=lie, path=str(tmp_path / "parts"))).result()
    assert b"".join(answer.parts) == data


def test_attachments_that_cannot_be_read_fail_their_task(tmp_path: Path) -> None:
    """A payload whose file is gone fails with the reason, queued or not, and the worker does the next task."""
    with pool_of(tmp_path, 1) as pool:
        before = said(pool.submit(Note("sleep", 0)).result())
        lost = [
            pool.submit(Note("echo", parts=(bytes(2 * MIB),), path=str(tmp_path / "gone")))
            for _ in range(2_000)
        ]
        for future in lost:
            with pytest.raises(FileNotFoundError):
                future.result()
        assert said(pool.submit(Note("sleep", 0)).result()) == before


def test_a_header_may_be_larger_than_what_a_socket_holds(tmp_path: Path) -> None:
    """A header of 5 MB arrives, though no socket takes it at once."""
    text = "x" * 5_000_000
    with pool_of(tmp_path) as pool:
        for _ in range(3):
            assert said(pool.submit(Note("echo", text)).result()) == ["echo", text]
        futures = [pool.submit(Note("echo", text)) for _ in range(6)]
        assert {len(f.result().header) for f in futures} == {len(Note("echo", text).header)}


def test_large_replies_leave_no_file(tmp_path: Path) -> None:
    """While a large reply is held, and when the pool is closed, its folder has no file any more."""
    place = tmp_path / "place"
    place.mkdir()
    with pool_of(tmp_path, folder=str(place)) as pool:
        answer = pool.submit(Note("echo", parts=(bytes(5 * MIB),))).result()
        assert [path for path in place.rglob("*") if path.is_file()] == []
        assert len(list(place.iterdir())) == 1
    assert list(place.iterdir()) == []
    assert answer.parts[0] == bytes(5 * MIB)


def test_the_folder_of_a_dead_pool_is_removed_by_the_next(tmp_path: Path) -> None:
    """What a killed process left behind is removed; what a living one has is not."""
    code = "import os, sys; from petal.execution.pool_files import Folder; f = Folder(sys.argv[1]); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    (left / "large").write_bytes(b"x")
    first, second = Folder(str(tmp_path)), Folder(str(tmp_path))
    assert {str(path) for path in tmp_path.iterdir()} == {first.path, second.path}
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_task_is_called_on_the_main_thread_of_a_process_of_its_own_group(tmp_path: Path) -> None:
    """A worker has its own session and process group, one thread, and no `__main__` of the user's."""
    with pool_of(tmp_path) as pool:
        found = said(pool.submit(Note("about")).result())
    assert found["on_main_thread"]
    assert found["threads"] == 1
    assert found["group"] == found["session"] == found["pid"] != os.getpid()
    assert found["main"] is None
    assert not {"polars", "click", "yaml", "structlog", "pluggy", "pytest"} & set(found["modules"])
    assert len(found["open"]) <= 6, "stdin, stdout, stderr, the socket, and the listing itself"


def test_workers_are_started_on_demand_and_used_again(tmp_path: Path) -> None:
    """A pool of three starts one worker for tasks in turn, and never more than three."""
    with pool_of(tmp_path, 3) as pool:
        first = [said(pool.submit(Note("sleep", 0)).result()) for _ in range(5)]
        assert len(set(first)) == 1
        futures = [pool.submit(Note("sleep", 0.02)) for _ in range(20)]
        assert len({said(f.result()) for f in futures}) == 3


def test_the_handler_is_imported_once_for_all_workers(tmp_path: Path) -> None:
    """Two workers have the handler from their parent."""
    with pool_of(tmp_path) as pool:
        futures = [pool.submit(Note("sleep", 0.1)), pool.submit(Note("about"))]
        found = [said(f.result()) for f in futures][1]
    assert found["imported_by"] == found["parent"]


def test_a_preloaded_module_that_starts_threads_is_not_inherited(tmp_path: Path) -> None:
    """Where a preload starts threads, workers are forked from a process that has not imported anything."""
    (tmp_path / "threads_of_tests.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    with pool_of(tmp_path, preload=["threads_of_tests"]) as pool:
        found = said(pool.submit(Note("about")).result())
    assert found["threads"] == 1
    assert found["imported_by"] == found["pid"]
    assert "threads_of_tests" not in found["modules"]


def test_what_a_task_tells_comes_in_order_and_before_its_reply(tmp_path: Path) -> None:
    """Events arrive in order, all before the future is done, none after it, and none as if the next task told it."""
    with pool_of(tmp_path, 1) as pool:
        pool.submit(Note("tell", 1)).result()
        for waits in (lambda f: f.result(), lambda f: wait([f])):
            heard: list[bytes] = []
            future = pool.submit(Note("tell", 2_000, 0.15), on_event=heard.append)
            waits(future)
            assert heard == [b"%d" % n for n in range(2_000)]
            pause()
            assert len(heard) == 2_000


def test_a_listener_that_fails_does_not_harm_the_task(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in `on_event` is logged, and the reply comes."""
    with pool_of(tmp_path) as pool:
        assert pool.submit(Note("tell", 2), on_event=lambda data: 1 / 0).result().header == b"null"
    assert len(caplog.records) == 2


# -- output -------------------------------------------------------------------------------------------------------


def test_what_a_task_writes_comes_with_its_reply(tmp_path: Path) -> None:
    """Output of Python, of C and of a child process is in the reply of its own task, and of no other."""
    with pool_of(tmp_path, 1) as pool:
        one = pool.submit(Note("say", "één \ud800")).result()
        none = pool.submit(Note("echo")).result()
        two = pool.submit(Note("say", "two")).result()
    assert sorted(one.output.splitlines()) == sorted(
        ["één \\ud800", "error één \\ud800", "from a child", "from C"]
    )
    assert none.output == ""
    assert sorted(two.output.splitlines()) == sorted(["two", "error two", "from a child", "from C"])


def test_output_without_end_blocks_nobody_and_is_cut(tmp_path: Path) -> None:
    """Of 100 MB the beginning and the end are kept, with a note of how much is not."""
    with pool_of(tmp_path) as pool:
        answer = pool.submit(Note("flood", 100)).result()
    assert said(answer) == 100
    assert answer.output.startswith("the first line\nxxx")
    assert answer.output.endswith("xxx\nthe last line\n")
    assert 2 * KEPT < len(answer.output) < 2 * KEPT + 100
    left_out = 100 * MIB + len("the first line\nthe last line\n") - 2 * KEPT
    assert f"[... {left_out} bytes left out ...]" in answer.output


# -- queue, threads, recycling ------------------------------------------------------------------------------------


def test_any_thread_may_submit(tmp_path: Path) -> None:
    """400 tasks from eight threads through two workers come back, each to the one that sent it."""

    def ask(number: int) -> bool:
        return said(pool.submit(Note("echo", number)).result()) == ["echo", number]

    with pool_of(tmp_path) as pool, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(400)))


def test_several_threads_may_wait_for_one_future(tmp_path: Path) -> None:
    """All that wait for a future get its answer, and a time limit on waiting is kept."""
    with pool_of(tmp_path) as pool, ThreadPoolExecutor(4) as threads:
        future = pool.submit(Note("wait_for", str(tmp_path / "go")))
        with pytest.raises(TimeoutError):
            future.result(0.01)
        with pytest.raises(TimeoutError):
            future.exception(0)
        waiting = [threads.submit(future.result) for _ in range(4)]
        (tmp_path / "go").touch()
        assert {w.result().header for w in waiting} == {b"null"}
        assert future.exception() is None


def test_futures_are_those_of_the_standard_library(tmp_path: Path) -> None:
    """`as_completed` and callbacks work, where nobody waits for the future itself."""
    called = []
    with pool_of(tmp_path) as pool:
        futures = [pool.submit(Note("echo", n)) for n in range(20)]
        futures[3].add_done_callback(lambda f: called.append(said(f.result())))
        found = sorted(said(f.result())[1] for f in as_completed(futures))
        assert settles(lambda: called == [["echo", 3]])
    assert found == list(range(20))


@pytest.mark.parametrize("through_the_pool", [True, False])
def test_a_queued_task_can_be_cancelled(through_the_pool: bool, tmp_path: Path) -> None:
    """A task that no worker has yet never starts, and the ones behind it do."""
    with pool_of(tmp_path, 1) as pool:
        busy = pool.submit(Note("wait_for", str(tmp_path / "go")))
        queued, behind = pool.submit(Note("flood", 1)), pool.submit(Note("about"))
        if through_the_pool:
            pool.cancel(queued)
        else:
            assert queued.cancel()
        (tmp_path / "go").touch()
        busy.result()
        assert said(behind.result())["calls"] == 2
        with pytest.raises(CancelledError):
            queued.result()


def test_a_running_task_can_be_cancelled(tmp_path: Path) -> None:
    """Its worker is killed, its `finally` runs, its future fails, and the next task has a new worker."""
    with pool_of(tmp_path, 1) as pool:
        before = said(pool.submit(Note("sleep", 0)).result())
        future = pool.submit(Note("cleans", str(tmp_path / "cleaned"), 60))
        pause()
        pool.cancel(future)
        with pytest.raises(TaskLost, match="stopped before its end"):
            future.result()
        assert (tmp_path / "cleaned").exists()
        assert said(pool.submit(Note("sleep", 0)).result()) != before
    assert not alive(before)


def test_a_worker_is_replaced_after_so_many_tasks(tmp_path: Path) -> None:
    """With `recycle_after=3` each process does three tasks, also when tasks queue up."""
    with pool_of(tmp_path, 1, recycle_after=3) as pool:
        found = [said(pool.submit(Note("sleep", 0)).result()) for _ in range(7)]
        found += [said(f.result()) for f in [pool.submit(Note("sleep", 0)) for _ in range(5)]]
    assert [found.count(pid) for pid in dict.fromkeys(found)] == [3, 3, 3, 3]
    assert gone(found)


def test_a_worker_that_has_grown_is_replaced(tmp_path: Path) -> None:
    """Above its memory limit a worker does no further task; below it does."""
    with pool_of(tmp_path, 1, memory_limit=200 * MIB) as pool:
        small, large, after = (said(pool.submit(Note("grow", size)).result()) for size in (10, 250, 10))
    assert small == large
    assert after != large


def test_workers_have_the_environment_that_is_given(tmp_path: Path) -> None:
    """Variables are added to those of this process."""
    with pool_of(tmp_path, environment={"PETAL_POOL_TEST": "yes"}) as pool:
        assert said(pool.submit(Note("about")).result())["variable"] == "yes"


# -- the end ------------------------------------------------------------------------------------------------------


def test_a_pool_that_had_no_task_has_started_nothing(tmp_path: Path) -> None:
    """No thread, process or file before the first task; closed, it takes none."""
    threads = threading.active_count()
    pool = Pool("no.such:handler", size=2, folder=str(tmp_path))
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(Note("echo"))


@pytest.mark.slow
def test_closed_pools_leave_nothing(tmp_path: Path) -> None:
    """After 50 pools there are as many open files, threads and children as before, and no zombie."""

    def counted() -> tuple[int, int, str]:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), children

    options = given(tmp_path)
    tempfile.gettempdir()
    before = counted()
    pids = []
    for number in range(50):
        with Pool("handlers_of_tests:handle", size=2, **options) as pool:
            futures = [pool.submit(Note("sleep", 0)) for _ in range(2)]
            if number % 5 == 0:
                pool.submit(Note("echo", parts=(bytes(2 * MIB),)))  # nobody waits for its end
            pids += [said(f.result()) for f in futures]
    assert counted() == before
    assert gone(pids, 0.5)


def test_closing_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    """Running tasks fail, queued ones are cancelled, and their processes are gone when `close` returns."""
    with pool_of(tmp_path, 2) as pool:
        pids = [said(f.result()) for f in [pool.submit(Note("sleep", 0.05)) for _ in range(2)]]
        running = pool.submit(Note("sleep", 60))
        stubborn = pool.submit(Note("stubborn", str(tmp_path / "ready"), 60))
        queued = pool.submit(Note("sleep", 60))
        assert settles((tmp_path / "ready").exists)
        pool.close(2.0)
        assert not any(map(alive, pids))
    for future in (running, stubborn):
        with pytest.raises(TaskLost, match="pool was closed"):
            future.result()
    assert queued.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(Note("echo"))


def test_closing_without_grace_ends_everything_at_once(tmp_path: Path) -> None:
    """With no second to spare, a task that ignores SIGTERM is gone all the same."""
    with pool_of(tmp_path, 1) as pool:
        future = pool.submit(Note("stubborn", str(tmp_path / "ready"), 60))
        assert settles((tmp_path / "ready").exists)
        pool.close(0.0)
        with pytest.raises(TaskLost):
            future.result()


def test_nothing_that_a_task_has_started_outlives_the_pool(tmp_path: Path) -> None:
    """A daemon, in a session of its own and with no parent left, ends with the pool."""
    place = tmp_path / "place"
    place.mkdir()
    with pool_of(tmp_path) as pool:
        pool.submit(Note("daemon", str(place))).result()
        assert settles(lambda: len(pids_in(place)) == 1)
        assert alive(*pids_in(place))
    assert gone(pids_in(place), 0.5)


def test_closing_in_a_forked_child_does_not_touch_the_pool(tmp_path: Path) -> None:
    """A process forked from the driver may close its copy; the driver's pool works on."""
    with pool_of(tmp_path) as pool:
        before = said(pool.submit(Note("sleep", 0)).result())
        child = os.fork()
        if not child:
            code = 1
            try:
                pool.close()
                try:
                    pool.submit(Note("echo"))
                except RuntimeError:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert said(pool.submit(Note("sleep", 0)).result()) == before


def test_a_callback_may_use_and_close_the_pool(tmp_path: Path) -> None:
    """A future's callback, on the pool's own thread, may submit and close without waiting for itself."""
    with pool_of(tmp_path) as pool:
        more: list[object] = []

        def called(_: object) -> None:
            more.append(pool.submit(Note("echo", "more")))
            pool.close()

        future = pool.submit(Note("echo"))
        future.add_done_callback(called)
        assert settles(lambda: bool(more))
        wait([future])
    json.loads(future.result().header)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
