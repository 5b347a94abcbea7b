"""One event loop on a thread of its own, shared by every coroutine of a run (S5.1).

asyncio is imported when the first coroutine comes: it costs more than all of a small run.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from petal.running.readers import Readers

_END = object()


class LoopThread:
    """Runs coroutines for threads; started on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._readers: Readers | None = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                import asyncio

                from petal.running.readers import Readers

                self._readers = Readers()
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(self._readers)
                self._thread = threading.Thread(target=self._loop.run_forever, name="petal-loop", daemon=True)
                self._thread.start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end and return what it returns; an interrupt cancels it."""
        loop = self._started()
        import asyncio

        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, rows: AsyncIterator[Any]) -> Iterator[Any]:
        """Read an async iterator from a plain thread, one item at a time."""

        async def advance() -> Any:
            return await anext(rows, _END)

        try:
            while (row := self.run(advance())) is not _END:
                yield row
        finally:
            close = getattr(rows, "aclose", None)
            if close is not None:
                self.run(close())

    def close(self, seconds: float = 2.0) -> None:
        """Stop the loop and wait for its threads, but not for ever: a thread may hang."""
        until = time.monotonic() + seconds
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        import asyncio

        async def shut() -> None:
            await loop.shutdown_asyncgens()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(shut(), loop).result(seconds)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(max(0.1, until - time.monotonic()))
        if self._readers is not None:
            self._readers.end(until)
        if not thread.is_alive():
            loop.close()
