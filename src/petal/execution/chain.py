"""Run one unit: a driver and the streaming nodes that it pulls from, on the calling thread (S4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from petal.data.adapters import adapt, row_count
from petal.data.batches import BATCH_ROWS
from petal.data.files import Outputs
from petal.data.spill import Counted, Held, Kept
from petal.data.split import by_port
from petal.errors import DataError
from petal.execution.branches import NobodyReads
from petal.execution.signals import Interrupt
from petal.execution.state import Collected, LeafStream, Listed, Ported, RunState, Stored
from petal.planning.moving import backend_of
from petal.running.call import Call, Callee
from petal.running.secrets import reveal
from petal.running.watch import Broken, Failure, Stopped, Unbegun, Watch, watched, watched_batches
from petal.spec.context import Context
from petal.spec.event import Status
from petal.spec.pipeline import MISSING
from petal.spec.plan import Binding, Constant, FromNode, Given, batched_input, stream_ports
from petal.spec.views import Seen, View

if TYPE_CHECKING:
    from petal.data.artifact import Artifact, Making
    from petal.execution.uncoded import Writing

_CONSTANT = Seen(View.VALUE)


def show(state: RunState, index: int, artifact: Artifact, watch: Watch) -> None:
    """Put a node's output where others read it, from its artifact."""
    seen = state.units.seen[index]
    watch.ended = True
    if seen.view.streams:
        watch.rows = artifact.rows
        state.values[index] = Collected(Stored(artifact), seen)
        return
    value = state.values[index] = watch.value = artifact.load()
    watch.rows = row_count(value)


class Chain:
    """One run of one unit.

    Args:
        state: The run.
        members: Nodes in topological order, the driver last.
        previews: Whether first rows are kept for the log.
        attempt: The attempt, from 1, of a node that may have several.
        place: Where that attempt runs: 0 for the node's backend, then those that it fails over to.
    """

    def __init__(
        self, state: RunState, members: Sequence[int], previews: bool, attempt: int = 1, place: int = 0
    ) -> None:
        self.state = state
        self.attempt = attempt
        self.place = place
        #: Writes the output of a held node that is to be kept, and what it has written.
        self.making: Making | None = None
        self.artifact: Artifact | None = None
        #: Why it could not be written.
        self.uncoded: str | None = None
        self.failure = Failure()
        self.watches = {i: Watch(i) for i in members}
        self._members = members
        self._previews = previews
        self._calls: list[tuple[int, Callee]] = []
        self._streams: dict[int, Iterator[Any]] = {}
        self._last_started = members[0]
        #: By member in batches: where its calls have succeeded, if they may fail over.
        self.places: dict[int, set[int]] = {}

    def run(self, begin: Callable[[int], None]) -> dict[int, Status]:
        """Run every member and say how each ended; nothing but an interrupt comes out as an exception."""
        interrupt: BaseException | None = None
        finished = False
        try:
            for index in self._members:
                begin(index)
                self._start(index)
            finished = True
        except (Interrupt, KeyboardInterrupt) as error:
            interrupt = error
        except Unbegun:
            self.watches[self._last_started].began = 0.0
        except (Broken, Stopped):
            pass
        except BaseException as error:  # SystemExit as well: a node that exits has failed
            self.failure.note(self._last_started, error)
        self.failure.trim()
        self._close(failed=not finished)
        statuses = self._statuses(finished)
        self._settle(statuses)
        if interrupt is not None:
            raise interrupt
        return statuses

    @property
    def unhidden(self) -> list[str]:
        """Secrets that members gave from elsewhere, and that nothing here can tell from other text."""
        return [name for _, call in self._calls for name in getattr(call, "unhidden", ())]

    # -- one member -------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        state, node = self.state, self.state.plan.nodes[index]
        spec, watch = state.specs[index], self.watches[index]
        self._last_started = index
        watch.began = time.perf_counter()
        watch.outputs = Outputs(
            f"{state.run_id}-{self.attempt}",
            partial(state.claim, node.id),
            run=state.run_id,
            describe=state.describe,
        )
        with state.lock:
            state.outputs.add(watch.outputs)
        batch = node.policies.batch if node.policies is not None else None
        cut = batched_input(spec, batch) if batch is not None else None
        if cut is not None and _is_left_out(node.inputs.get(cut.name)):
            cut = None  # the function's own default: there is nothing to cut
        try:
            if batch is not None and cut is not None:
                from petal.execution.batched import rows_of  # what it imports would slow every start

                result: Any = rows_of(self, index, batch, cut, watch.outputs)
            else:
                inputs = {n: self.input(index, n, b) for n, b in node.inputs.items()}
                inputs = {n: v for n, v in inputs.items() if v is not MISSING}
                result = self.call(index)(inputs, self.context(index, watch.outputs))
                if (
                    batch is not None and not spec.outputs[0].seen.view.streams
                ):  # one call, but its rows flow as those of many would
                    result = iter(adapt(result, spec.outputs[0].seen, state.units.seen[index], "output"))
        except BaseException as error:
            self.failure.note(index, error)
            raise
        finally:
            watch.spent += time.perf_counter() - watch.began
        if state.units.flows[index]:
            self._flow(index, result)
        elif index in state.units.held and spec.outputs:
            self._hold(index, result)
        elif index in state.units.ports:
            self._part(index, result)
        else:
            self._keep(index, result)

    def call(self, index: int, place: int | None = None) -> Callee:
        """Make a member's operator ready, here or elsewhere; it is closed at the end."""
        place = self.place if place is None else place
        state, node = self.state, self.state.plan.nodes[index]
        spec, operator = state.specs[index], state.operators[node.operator]
        call: Callee
        if index in state.away and backend_of(node, place) != "local":
            from petal.execution.remote import RemoteCall  # only a node that leaves the process pays for it

            outputs = self.watches[index].outputs
            call = RemoteCall(state.sessions, state.plan, node, spec, operator, outputs, state.stop, place)
        else:
            call = Call(spec, operator.target, reveal(node.params), state.loop)
        self._calls.append((index, call))
        return call

    def context(
        self, index: int, outputs: Outputs, batch: int | None = None, attempt: int | None = None
    ) -> Context:
        """Make what a call of a member may ask for; ``batch`` is the number of the call where there are several."""
        state, node = self.state, self.state.plan.nodes[index]
        return Context(
            run_id=state.run_id,
            node_id=node.id,
            attempt=attempt or self.attempt,
            pipeline=state.plan.name,
            idempotency_key=f"{state.run_id}:{node.id}" + (f":{batch}" if batch is not None else ""),
            columns=node.columns,
            cancelled=state.cancelled(),
            open_output=outputs.open,
            secret=lambda name: str(reveal("${secret:" + name + "}")),
        )

    def input(
        self, index: int, name: str, binding: Binding | tuple[Binding, ...], view: Seen | None = None
    ) -> Any:
        """Return an input's value, in the view that its port asks for unless another is given."""
        port = self.state.specs[index].input(name)
        assert port is not None
        wanted = view or port.seen
        if isinstance(binding, tuple):
            return [self._one(index, name, k, b, wanted) for k, b in enumerate(binding)]
        return self._one(index, name, 0, binding, wanted)

    def _one(self, index: int, name: str, position: int, binding: Binding, wanted: Seen) -> Any:
        state, watch = self.state, self.watches[index]
        note = partial(self.failure.note, index)
        if isinstance(binding, Given):
            port = state.specs[index].input(name)
            assert port is not None
            flowing = Seen(port.seen.view, port.seen.element) if port.seen.view.streams else port.seen
            return adapt(binding.value, flowing, wanted, name, note) if flowing != wanted else binding.value
        if isinstance(binding, Constant):
            if binding.value is MISSING:
                return MISSING
            watch.inputs[name] = binding.value
            return adapt(reveal(binding.value), _CONSTANT, wanted, name, note)
        source = binding.node
        if source in self._streams:  # pulled: nothing between the two
            watch.reads.setdefault(name, []).append(self.watches[source])
            return adapt(self._streams[source], self._seen(source), wanted, name, note)
        branch = state.readers.get((index, name, position))
        if branch is not None:
            watch.reads.setdefault(name, []).append(branch)
            seen = self._seen(source, binding.port)
            rows = branch if seen.view is View.BATCHES else (row for piece in branch for row in piece)
            return adapt(rows, seen, wanted, name, note)
        value = state.values[source]
        if isinstance(value, Ported):
            value = value[binding.port]
        if isinstance(value, Collected):
            watch.inputs[name] = value
            watch.whole[name] = watch.whole.get(name, 0) + value.rows
            return value.view(wanted, name)
        value = self._port(source, binding, value)
        watch.inputs[name] = value
        if (
            source in state.units.held
            and isinstance(value, list)
            and self._seen(source, binding.port).view.streams
        ):
            value = iter(value)  # one of several streams, which all were read
        output = state.specs[source].output(binding.port)
        given = source not in state.plan.overrides and output is not None
        return adapt(value, output.seen if output is not None and given else _CONSTANT, wanted, name, note)

    def _seen(self, source: int, port: str = "output") -> Seen:
        output = self.state.specs[source].output(port)
        if port != "output" and output is not None:
            return output.seen
        return self.state.units.seen[source]

    def _port(self, source: int, binding: FromNode, value: Any) -> Any:
        if binding.port == "output":
            return value
        try:
            return value[binding.port] if isinstance(value, dict) else getattr(value, binding.port)
        except (KeyError, AttributeError):
            spec = self.state.specs[source]
            raise DataError(
                f"{spec.name} did not give its output port `{binding.port}`",
                hint="return a NamedTuple or a dict that has the port",
            ) from None

    # -- what comes out ---------------------------------------------------------------------------------------

    def _hold(self, index: int, result: Any) -> None:
        """What a held node gives: read to its end, and shown to others only when all of it is there (S4.3)."""
        state, seen, making = self.state, self._seen(index), self.making
        if seen.view.streams:
            pieces: Held | Writing = (held := Held(state.folder, seen.element))
            if making is not None:
                from petal.execution.uncoded import Writing

                pieces = Writing(making, held)
            self._flow(index, result)
            stream = self._streams[index]
            for piece in stream if seen.view is View.BATCHES else _pieces(stream):
                pieces.put(piece)
            if not isinstance(pieces, Held):
                self.artifact, self.uncoded = pieces.finish(), pieces.problem
            if self.artifact is not None:
                self.show(index, self.artifact)
            else:
                state.values[index] = Collected(pieces, seen)
            return
        ports = stream_ports(state.specs[index])
        if ports:
            watch, rows = self.watches[index], dict[str, list[Any]]()
            parting = time.perf_counter()
            try:
                for port, row in by_port({p: self._port(index, FromNode(index, p), result) for p in ports}):
                    if state.stop:
                        raise Stopped
                    rows.setdefault(port, []).append(row)
            finally:
                watch.spent += time.perf_counter() - parting
            result = _with_fields(result, {p: rows.get(p, []) for p in ports})
        self._keep(index, result)
        if making is not None:
            from petal.execution.uncoded import written

            self.artifact, self.uncoded = written(making, result)
            if self.artifact is not None:
                self.show(index, self.artifact)

    def show(self, index: int, artifact: Artifact) -> None:
        """Let others read a node's output from its artifact, whether it was made now or before."""
        show(self.state, index, artifact, self.watches[index])

    def _flow(self, index: int, result: Iterator[Any]) -> None:
        """A stream: watch it, and leave it to whoever pulls; the driver's own is read to its end here."""
        seen, watch, state = self._seen(index), self.watches[index], self.state
        watch_it = watched_batches if seen.view is View.BATCHES else watched
        stream = watch_it(result, watch, self.failure, state.stop, self._previews)
        self._streams[index] = stream
        if index == self._members[-1] and index not in state.units.held:
            self._drain(index, stream, seen)

    def _drain(self, index: int, stream: Iterator[Any], seen: Seen) -> None:
        state = self.state
        trunk = state.trunks.get(index)
        kept: Kept | Counted | None = None
        pieces: list[Any] | None = [] if index in state.units.loaded else None
        held = None
        if pieces is None and index in state.units.collected:
            held = Held(state.folder, seen.element)
        elif pieces is None and index in state.targets:
            kept = Kept(state.folder, seen.element) if state.keep else Counted()
        try:
            for piece in stream if seen.view is View.BATCHES else _pieces(stream):
                if kept is not None:
                    kept.put(piece)
                if pieces is not None:
                    pieces.append(piece)
                if held is not None:
                    held.put(piece)
                if trunk is not None:
                    trunk.push(piece)
        except NobodyReads as news:
            if news.failed:
                raise Stopped from None  # S4.4: upstream of a failure
            self.watches[index].ended = True
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        if pieces is not None:
            state.values[index] = Collected(Listed(pieces), seen)
        elif held is not None:
            state.values[index] = Collected(held, seen)
        elif kept is not None:
            state.values[index] = LeafStream(kept, seen)

    def _part(self, index: int, result: Any) -> None:
        """Several streams at once: hand each row to the consumers of its port (S1.5)."""
        state, watch = self.state, self.watches[index]
        ports, trunk = state.units.ports[index], state.trunks.get(index)
        streams = {p: self._port(index, FromNode(index, p), result) for p in ports}
        whole = index in state.units.whole or (state.keep and index in state.targets)
        kept: dict[str, list[Any]] = {
            p: [] for p in ports if whole or (index, p) in state.units.collected_ports
        }
        pieces: dict[str, list[Any]] = {p: [] for p in ports}

        def push(port: str) -> None:
            piece, pieces[port] = pieces[port], []
            if trunk is not None:
                began = time.perf_counter()
                trunk.push(piece, port)
                watch.spent -= time.perf_counter() - began  # waiting for room is not its own work
            if port in kept:
                kept[port].append(piece)

        watch.rows = 0
        parting = time.perf_counter()
        try:
            for port, row in by_port(streams):
                if state.stop:
                    raise Stopped
                watch.rows += 1
                pieces[port].append(row)
                if len(pieces[port]) >= BATCH_ROWS:
                    push(port)
            for port in ports:
                if pieces[port]:
                    push(port)
        except NobodyReads as news:
            if news.failed:
                raise Stopped from None  # S4.4: upstream of a failure
        except BaseException as error:
            self.failure.note(index, error)
            raise
        finally:
            watch.spent += time.perf_counter() - parting
        watch.ended = True
        collected = {p: Collected(Listed(found), self._seen(index, p)) for p, found in kept.items()}
        if whole:
            state.values[index] = _with_fields(result, {p: list(c.stream()) for p, c in collected.items()})
        else:
            state.values[index] = Ported(collected)

    def _keep(self, index: int, result: Any) -> None:
        watch = self.watches[index]
        watch.ended = True
        watch.value = result
        watch.rows = row_count(result)
        self.state.values[index] = result

    # -- the end ----------------------------------------------------------------------------------------------

    def _close(self, failed: bool) -> None:
        """Close every stream, the last one first: generators upstream see GeneratorExit where they stand."""
        for stream in reversed(list(self._streams.values())):
            try:
                stream.close()
            except (Broken, Stopped, Exception):
                continue  # noted by its watch
        for index, call in self._calls:
            try:
                call.close()
            except (Exception, Stopped) as error:
                self.failure.note(index, error)
        for index in self._members:  # also of members that were never called: their trunks wait for room
            for branch in self.state.branches_of.get(index, ()):
                if branch.broken:
                    self.failure.broken.add(index)
                branch.close(failed=failed)

    def _statuses(self, finished: bool) -> dict[int, Status]:
        """Say how each member ended, by S4.4."""
        failed = self.failure.index
        spoiled = set(self.failure.broken)
        if failed is not None:
            spoiled.add(failed)
        self._spoil(spoiled)
        statuses: dict[int, Status] = {}
        clean = finished and not spoiled and not self.state.stop
        for index in self._members:
            if index == failed:
                statuses[index] = Status.FAILED
            elif index in spoiled:
                statuses[index] = Status.SKIPPED
            elif self.watches[index].ended or clean:
                statuses[index] = Status.SUCCEEDED
            else:
                statuses[index] = Status.CANCELLED
        return statuses

    def _spoil(self, spoiled: set[int]) -> None:
        """Add every member that reads, directly or not, from what is spoiled."""
        for index in self._members:
            bindings = self.state.plan.nodes[index].inputs.values()
            sources = [b.node for group in bindings for b in _each(group) if isinstance(b, FromNode)]
            if any(s in spoiled and s in self.watches for s in sources):
                spoiled.add(index)

    def _settle(self, statuses: dict[int, Status]) -> None:
        """Publish the outputs of what succeeded, drop the others, and tell the consumers of a trunk how it ended."""
        state, driver = self.state, self._members[-1]
        for index in self._members:
            outputs = self.watches[index].outputs
            if outputs is None:
                continue
            try:
                if statuses[index] is Status.SUCCEEDED and state.stop and outputs.targets:
                    statuses[index] = Status.CANCELLED
                if statuses[index] is Status.SUCCEEDED:
                    state.publish(state.plan.nodes[index].id, outputs)
                else:
                    outputs.abort()
            except Exception as error:
                self.failure.errors[index] = error
                spoiled = {index}
                self._spoil(spoiled)
                statuses.update(dict.fromkeys(spoiled, Status.SKIPPED))
                statuses[index] = Status.FAILED
            with state.lock:
                state.outputs.discard(outputs)
        ok = statuses[driver] is Status.SUCCEEDED
        if not ok:
            state.values[driver] = None
        trunk = state.trunks.get(driver)
        if trunk is not None:
            trunk.finish(broken=not ok, cancelled=statuses[driver] is Status.CANCELLED)


def _with_fields(whole: Any, fields: dict[str, Any]) -> Any:
    """Return a NamedTuple or dict with some fields replaced."""
    return {**whole, **fields} if isinstance(whole, dict) else whole._replace(**fields)


def _is_left_out(binding: Any) -> bool:
    return binding is None or (isinstance(binding, Constant) and binding.value is MISSING)


def _each(binding: Any) -> tuple[Any, ...]:
    return binding if isinstance(binding, tuple) else (binding,)


def _pieces(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while piece := list(islice(rows, BATCH_ROWS)):
        yield piece
