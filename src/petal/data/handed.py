"""Hand files that a worker has written over to who asked for them, and hold their locks until they are published."""

from __future__ import annotations

import os

from petal.data.files import Handed, Outputs

#: Files that a task has written and that the sender is to publish. They stay locked until it has: what nobody holds a
#: lock on is swept away.
_handed: list[tuple[Outputs, list[Handed]]] = []


def hand_over(outputs: Outputs) -> list[Handed]:
    """Store what a task has written, for the sender to publish.

    Raises:
        OutputError: It cannot be stored.
    """
    handed = outputs.hand_over()
    if handed:
        _handed.append((outputs, handed))
    return handed


def let_go() -> None:
    """Unlock the files that have been published or dropped by now."""
    for pair in list(_handed):
        outputs, handed = pair
        if not any(os.path.exists(one.temporary) for one in handed):
            outputs.let_go()
            _handed.remove(pair)
