"""Find the files that the nodes of a plan read and what they are like, for the record of a run (S9.3)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from petal.data.file_stamp import stamp_of
from petal.planning.values import file_use
from petal.spec.operator import OperatorSpec
from petal.spec.plan import Plan, PlanNode
from petal.spec.url import is_url
from petal.spec.views import READS

#: URLs that are looked at at the same time.
_AT_ONCE = 16


def files_read(plan: Plan) -> dict[int, dict[str, str]]:
    """Return the stamps of the files that nodes read, by path, by index of the node.

    What another node may write is left out, as it changes with the run itself.

    Args:
        plan: What will run.
    """
    reading = {
        key: names
        for key, spec in plan.operators.items()
        if spec.params and (names := {p.name for p in spec.params if file_use(p.annotation) is READS})
    }
    read: dict[int, list[str]] = {}
    known, cache = None, None
    for i, node in enumerate(plan.nodes):
        if node.policies is not known:  # most nodes share theirs
            known = node.policies
            cache = known.cache if known is not None else None
        if cache is None and not reading:
            continue
        asked = reading.get(node.operator, set())
        depends_on = cache.depends_on if cache is not None else ()
        if asked or depends_on:
            spec = plan.operators[node.operator]
            read[i] = [
                *_paths({n: _value(node, spec, n) for n in sorted(asked)}),
                *map(_place, depends_on),
            ]
    if not any(read.values()):
        return {}
    written: set[str] = set()
    for node in plan.nodes:
        others = node.params.keys() - reading.get(node.operator, set())
        written.update(_paths({n: node.params[n] for n in others}))
    stamps = _stamps({p for paths in read.values() for p in paths} - written)
    found = {i: {p: stamps[p] for p in paths if p in stamps} for i, paths in read.items()}
    return {i: known for i, known in found.items() if known}


def _stamps(paths: set[str]) -> dict[str, str]:
    """Look at files; at those that URLs name several at a time, as each look takes a while."""
    far = [path for path in paths if is_url(path)]
    found = {path: stamp_of(path) for path in paths.difference(far)}
    if far:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(far), _AT_ONCE), "petal-look") as pool:
            found |= zip(far, pool.map(stamp_of, far), strict=True)
    return found


def _value(node: PlanNode, spec: OperatorSpec, name: str) -> Any:
    return node.params.get(name, getattr(spec.param(name), "default", None))


def _paths(values: Mapping[str, Any]) -> Iterator[str]:
    """Give the paths among the values of parameters; text may be one."""
    for value in values.values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, str | os.PathLike) and os.fspath(one) not in ("", "-"):
                yield _place(os.fspath(one))


def _place(path: str | os.PathLike[str]) -> str:
    if is_url(path):
        return str(path)
    return os.path.normpath(os.path.abspath(path))  # noqa: PTH100 (many, before a run begins)
