"""Compare the operators of a pipeline with those that the workers of a backend have, before anything runs there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from petal.code.source import project_path
from petal.data.filesystems import bringing
from petal.errors import PetalError
from petal.execution.compared import Comparison
from petal.execution.remote import Sessions
from petal.interfaces.backend import BackendSession
from petal.running.secrets import resolving
from petal.spec.context import Context
from petal.spec.policy import Execution

if TYPE_CHECKING:
    from petal.app.pipeline import Pipeline
    from petal.spec.plan import PlanNode

#: Seconds that one comparison may take.
_PATIENCE = 60.0


def compared(pipeline: Pipeline, place: Execution) -> dict[str, list[str] | PetalError]:
    """Look for the operators of the nodes that run in one place.

    Args:
        pipeline: The pipeline.
        place: The place. One whose workers have the code of this process by themselves is not asked.

    Returns:
        By node what of its operator's code is another there, or why the operator cannot be found there.

    Raises:
        EnvironmentNotReady: The backend cannot be opened.
    """
    planned = pipeline.planned()
    plan = planned.plan
    assert plan is not None, "doctor has planned it before"
    session, found = pipeline.session, dict[str, list[str] | PetalError]()
    with ExitStack() as stack:
        stack.enter_context(resolving(session.resolve))
        stack.enter_context(bringing(session.filesystem))
        for folder in pipeline.folders:
            stack.enter_context(project_path(folder))
        sessions = Sessions(session.opener(), None, pipeline.folders, session.keyring(), pipeline.folder)
        stack.callback(sessions.close, 0.0)
        if _opened(sessions, place).capabilities.has_code:
            return found
        for node in plan.nodes:
            at = _at(node, place)
            operator = planned.operators[node.operator]
            if at is None or hasattr(operator.target, "execute_remote"):
                continue
            spec, patient = plan.operators[node.operator], _patient(node)
            call = Comparison(sessions, plan, patient, spec, operator, None, [], at)
            try:
                found[node.id] = call({}, Context(run_id="compare", node_id=node.id, pipeline=plan.name))
            except PetalError as error:
                found[node.id] = error
            finally:
                call.close()
    return found


def _opened(sessions: Sessions, place: Execution) -> BackendSession:
    settings: Mapping[str, Any] = place.settings
    return sessions.get(place.backend, settings)


def _at(node: PlanNode, place: Execution) -> int | None:
    """Return which of a node's places it is, None where it is none of them, or speaks plain JSON."""
    places = node.policies.execution.places if node.policies is not None else ()
    fits = (i for i, one in enumerate(places) if replace(one, failover=()) == place and not one.speaks_json)
    return next(fits, None)


def _patient(node: PlanNode) -> PlanNode:
    """Return a node that has as much time for this as it takes, and no more."""
    assert node.policies is not None
    return replace(node, policies=replace(node.policies, timeout=_PATIENCE))
