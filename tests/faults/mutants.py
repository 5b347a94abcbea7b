"""Petal with one of its defences taken away: what a fault test must notice, or it proves nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def without_temporary() -> None:
    """Write each target in place."""
    from petal.data import files

    def create(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    files.temporary_of = lambda target, _mark: target
    files.create = create
    files.publish = lambda *_: None


def without_order() -> None:
    """Publish the manifest before the data that it names."""
    from petal.data.files import Outputs

    commit = Outputs.commit

    def backwards(self: Outputs) -> Any:
        self.store()
        self._open.reverse()
        return commit(self)

    Outputs.commit = backwards  # type: ignore[method-assign]


def without_proof() -> None:
    """Record a target as stored before it is there, and believe the record."""
    from petal.data import published
    from petal.data.files import Outputs
    from petal.execution.facts import Facts

    def early(self: Facts, node: str, outputs: Outputs) -> None:
        found = outputs.store()
        outputs.commit = lambda: found  # type: ignore[method-assign]
        publish(self, node, outputs)
        del outputs.commit
        outputs.commit()

    publish = Facts.publish
    Facts.publish = early  # type: ignore[method-assign]
    _everywhere(published.is_same, lambda *_: True)


def without_sweep() -> None:
    """Leave what dead owners have left."""
    from petal.data import busy, publishing

    _everywhere(publishing.sweep, lambda *_: None)
    _everywhere(busy._sweep_once, lambda *_: None)


def without_cleanup() -> None:
    """Leave what a run was writing when it was stopped."""
    from petal.data.files import Output, Outputs

    for kind in (Output, Outputs):
        kind.abort = kind.abandon = lambda _: None  # type: ignore[method-assign]


def without_whole() -> None:
    """Let a signal cut the writer's steps in two."""
    from petal.data.whole import Whole

    Whole.then = lambda _, act: act()  # type: ignore[method-assign]


def without_fence() -> None:
    """Have whoever does a task publish what it has written, whether anybody still waits for it or not."""
    from petal.data import handed
    from petal.data.files import Outputs

    def publish(outputs: Outputs) -> list[Any]:
        outputs.commit()
        return []

    _everywhere(handed.hand_over, publish)


def without_verification() -> None:
    """Serve what the cache holds without a look at its digest."""
    from petal.data import artifact

    artifact.Stored.digest = lambda _: _Anything()  # type: ignore[method-assign,assignment,attr-defined]


class _Anything(str):
    """A digest that is equal to every other."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def without_redactor() -> None:
    """Show secrets as they are."""
    from petal.spec import redaction, veil

    _everywhere(redaction.redact, lambda text: text)
    _everywhere(redaction.hides, lambda: False)
    _everywhere(redaction.hidden, lambda _shortest=8: [])
    _everywhere(veil.veiled, lambda stream: stream)


def _everywhere(function: Any, other: Any) -> None:
    """Put one function in the place of another, whoever has imported it."""
    import sys

    for module in tuple(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("petal."):
            for name, value in tuple(vars(module).items()):
                if value is function:
                    setattr(module, name, other)


WITHOUT = {
    "temporary": without_temporary,
    "order": without_order,
    "proof": without_proof,
    "sweep": without_sweep,
    "cleanup": without_cleanup,
    "whole": without_whole,
    "fence": without_fence,
    "verification": without_verification,
    "redactor": without_redactor,
}
