"""Where nodes run in the contract of backends: a backend in a session of its own, or the engine itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from petal.app.pipeline import Pipeline
from petal.app.session import Session
from petal.authoring.pipeline import Node, node
from petal.errors import NodeFailed, UsageError
from petal.execution.result import RunResult
from petal.interfaces.backend import Backend, Capabilities
from petal.plugin.markers import hookimpl
from petal.spec.event import Status
from petal.testing import tasks
from petal.testing.frame_kinds import HANDS
from petal.testing.kinds import Kind
from petal.testing.subject import check, check_same, giver

#: What the engine itself can do.
_LOCAL = Capabilities(shares_files=True, has_code=True)


class Brings:
    """A plugin that brings one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @hookimpl
    def petal_backends(self) -> list[Backend]:
        """Return it."""
        return [self._backend]


class Place:
    """Where nodes run in a test: a backend with settings, in a session of its own.

    Args:
        backend: Its name, or the backend itself.
        settings: The ``execution`` block's settings.
    """

    def __init__(self, backend: str | Backend, settings: Mapping[str, Any]) -> None:
        self.session = Session()
        self.settings = dict(settings)
        self.name = backend if isinstance(backend, str) else backend.name
        if not isinstance(backend, str):
            self.session.register(Brings(backend), name=f"the tested backend {self.name}")

    @property
    def is_local(self) -> bool:
        """Whether it is the engine itself."""
        return self.name == "local"

    @property
    def backend(self) -> Backend:
        """The backend.

        Raises:
            UsageError: There is none of that name.
        """
        found = self.session.backend(self.name)
        if found is None:
            raise UsageError(
                f"there is no backend `{self.name}`",
                hint="install the plugin that brings it, or give the object",
            )
        return found

    @property
    def capabilities(self) -> Capabilities:
        """What it says that it can do."""
        return _LOCAL if self.is_local else self.backend.capabilities

    def node(self, operator: Any, id: str, policies: Mapping[str, Any] | None = None, **inputs: Any) -> Node:
        """Place an operator there."""
        own: dict[str, Any] = {} if self.is_local else {"execution": {"backend": self.name, **self.settings}}
        return node(operator, id=id, inputs=inputs, policies=own | dict(policies or {}))

    def run(self, *nodes: Node, **arguments: Any) -> RunResult:
        """Run a pipeline of nodes."""
        pipeline = Pipeline.of(*nodes, name="contract", session=self.session)
        result: RunResult = pipeline.run(**arguments)
        return result

    def failure(self, operator: Any, value: Any, policies: Mapping[str, Any] | None = None) -> NodeFailed:
        """Run an operator that must fail, and return the error; one beside it must succeed."""
        name = operator.__code__.co_varnames[0]
        result = self.run(
            node(giver(value), id="given"),
            node(giver(1), id="one"),
            self.node(operator, "it", policies, **{name: "given"}),
            self.node(tasks.adds, "beside", value="one"),
        )
        check(result.status is Status.FAILED, f"the run {result.status}, but a node of it failed")
        check_same(result.outputs["beside"], 1, "the node beside the one that failed")
        error = result.nodes["it"].error
        assert error is not None, f"`it` {result.nodes['it'].status}, but should have failed"
        return error


class Programs:
    """The echo, run by a backend.

    Args:
        place: The backend.
        settings: The settings with which it runs the echo.
    """

    def __init__(self, place: Place, settings: Mapping[str, Any]) -> None:
        self._place = place
        self._execution = {"backend": place.name, "protocol": "json", **settings}

    def run(self, value: Any, params: Mapping[str, Any]) -> RunResult:
        """Run it with a value, with records and with a stream."""
        inputs = {"value": "given", "records": "records", "stream": "stream"}
        return self._place.run(
            node(giver(value), id="given"),
            node(tasks.records, id="records"),
            node(tasks.numbers, id="stream"),
            node("Echo", id="it", inputs=inputs, params=params, policies={"execution": self._execution}),
            targets=["it"],
        )

    def failure(self, value: Any, params: Mapping[str, Any] | None = None) -> NodeFailed:
        """Run it where it must fail, and return the error."""
        result = self.run(value, params or {})
        check(result.status is Status.FAILED, f"the run {result.status}, but its program failed")
        error = result.nodes["it"].error
        assert error is not None
        return error


def here() -> Place:
    """Return the engine itself, to compare with."""
    return Place("local", {})


def outputs_of(place: Place, kind: Kind) -> dict[str, Any]:
    """Hand all samples of a kind on in every form, and return what comes back, by form.

    Raises:
        AssertionError: A node failed; all that did are named.
    """
    hands, nodes, wanted = HANDS[kind.name], list[Node](), list[str]()

    def hand(form: str, operator: Any, value: Any) -> None:
        inputs: dict[str, Any] = {operator.__code__.co_varnames[0]: f"given_{form}"}
        nodes.append(node(giver(value), id=f"given_{form}"))
        nodes.append(place.node(operator, form, **inputs))
        wanted.append(form)

    for i, sample in enumerate(kind.samples):
        hand(f"value{i}", hands.value, sample)
    if kind.items:
        hand("items", hands.items, list(kind.samples))
        hand("empty_items", hands.items, [])
    if kind.batches:
        hand("batches", hands.batches, list(kind.samples))
        hand("empty_batches", hands.batches, [])
    result = place.run(*nodes, targets=wanted)
    failed = [f"{name}: {found.error}" for name, found in result.nodes.items() if found.error is not None]
    check(not failed, f"on `{place.name}`, {kind.name}:\n" + "\n".join(failed))
    return {form: _read(result.outputs[form]) for form in wanted}


def _read(value: Any) -> Any:
    return list(value) if isinstance(value, Iterator) else value
