"""Call one operator with its inputs: function, coroutine, generator or class alike."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from petal.data.adapters import batch_rows, batches_of
from petal.errors import DataError
from petal.running.loop import LoopThread
from petal.spec.context import Context
from petal.spec.operator import Flavour, OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.views import View


class Callee(Protocol):
    """An operator ready to be called, wherever it runs."""

    def __call__(self, inputs: Mapping[str, Any], context: Context) -> Any:
        """Call it; a stream comes back as an iterator."""

    def close(self) -> None:
        """Let it go."""


class Call:
    """An operator ready to be called for one node; a class operator's instance lives as long as this does."""

    __slots__ = ("_instance", "_loop", "_own_loop", "_params", "_spec", "_target")

    def __init__(self, spec: OperatorSpec, target: Any, params: Mapping[str, Any], loop: LoopThread) -> None:
        self._spec = spec
        self._target = target
        self._params = params
        self._loop = loop
        self._own_loop: LoopThread | None = None
        self._instance: Any = None

    def __call__(self, inputs: Mapping[str, Any], context: Context) -> Any:
        """Call the operator; a stream comes back as a plain iterator, not yet read."""
        spec = self._spec
        arguments = dict(inputs)
        for name in spec.contexts:
            arguments[name] = context
        if spec.flavour is Flavour.CLASS:
            function = self._made(context).process
        else:
            function = self._target
            arguments.update(self._params)
        result = function(*self._positional(arguments), **arguments)
        return plain_result(result, spec, self._loop_for(result))

    def _loop_for(self, result: Any) -> LoopThread:
        """Choose the event loop: a coroutine that reads a plain iterator would hold up all others on the shared one."""
        if not (inspect.iscoroutine(result) or hasattr(result, "__aiter__")):
            return self._loop
        if not any(i.seen.view.streams and i.seen.container != "async" for i in self._spec.inputs):
            return self._loop
        self._own_loop = LoopThread()
        return self._own_loop

    def close(self) -> None:
        """Close a class operator's instance, if it can be."""
        instance, self._instance = self._instance, None
        try:
            close = getattr(instance, "close", None)
            if close is not None:
                result = close()
                if inspect.isawaitable(result):
                    (self._own_loop or self._loop).run(_wait(result))
        finally:
            if self._own_loop is not None:
                self._own_loop.close()

    def _made(self, context: Context) -> Any:
        if self._instance is None:
            arguments = dict(self._params)
            for name in self._spec.init_contexts:
                arguments[name] = context
            self._instance = self._target(**arguments)
        return self._instance

    def _positional(self, arguments: dict[str, Any]) -> list[Any]:
        """Take out of ``arguments`` what must be given by position: all, when there is a variadic input."""
        inputs = self._spec.inputs
        if not inputs or not inputs[-1].variadic:
            return []
        found: list[Any] = []
        for name in self._spec.positional:
            if name == inputs[-1].name:
                found.extend(arguments.pop(name, ()))
            elif name in arguments:
                found.append(arguments.pop(name))
            else:
                port = self._spec.input(name)
                found.append(port.default if port is not None else None)
        return found


def plain_result(result: Any, spec: OperatorSpec, loop: LoopThread) -> Any:
    """Wait for a coroutine, read an async stream as a plain one, and check what a stream is."""
    if inspect.iscoroutine(result):
        result = loop.run(result)
    if hasattr(result, "__aiter__"):
        result = loop.iterate(result.__aiter__())
    output = spec.outputs[0] if spec.outputs else None
    if output is None:
        if isinstance(result, Iterator):  # a sink written as a generator: its body runs only when it is read
            for _ in result:
                pass
        return None
    if output.seen.view.streams:
        return _as_iterator(result, spec)
    if output.seen.view is View.VALUE and output.annotation is MISSING and isinstance(result, Iterator):
        return list(result)  # S3.3
    return result


async def _wait(work: Any) -> Any:
    return await work


def _as_iterator(result: Any, spec: OperatorSpec) -> Iterator[Any]:
    iterable = (
        hasattr(result, "__iter__") or hasattr(result, "__arrow_c_stream__") or hasattr(result, "collect")
    )
    if result is None or isinstance(result, str | bytes | Mapping) or not iterable:
        got = "None" if result is None else f"one {type(result).__name__}"
        raise DataError(
            f"{spec.name} says that it gives a stream, but it returned {got}",
            hint="`yield` the rows, or return a list or an iterator of them",
        )
    batches = batches_of(result)
    if batches is None:
        return iter(result)
    return (
        batches
        if spec.outputs[0].seen.view is View.BATCHES
        else chain.from_iterable(map(batch_rows, batches))
    )
