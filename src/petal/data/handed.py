"""Hand files that a worker has written over to who asked for them, and hold their locks until they are published."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

from petal.data.files import Handed, Outputs
from petal.errors import WireError
from petal.spec.url import is_url, scheme_of

if TYPE_CHECKING:
    from petal.data.uploads import HandedUpload

#: Files that a task has written and that the sender is to publish. They stay locked until it has: what nobody holds a
#: lock on is swept away.
_handed: list[tuple[Outputs, list[Handed | HandedUpload]]] = []


def hand_over(outputs: Outputs) -> list[Handed | HandedUpload]:
    """Store what a task has written, for the sender to publish.

    Raises:
        OutputError: It cannot be stored.
    """
    handed = outputs.hand_over()
    if handed:
        _handed.append((outputs, handed))
    return handed


def handed_over(
    pairs: Any, *, shares_files: bool, schemes: Collection[str] = ()
) -> list[Handed | HandedUpload]:
    """Return the files that a worker says it has written: where each is, and where it is to appear.

    Args:
        pairs: What its reply says.
        shares_files: Whether it is of this machine, and sees its files; else it has written none but those of URLs.
        schemes: Of these alone, as its request has named them.

    Raises:
        WireError: It names another file all the same, or what it says names none.
    """
    try:
        found = msgspec.convert(pairs, list[tuple[str, str]])
    except msgspec.ValidationError as error:
        raise WireError(f"the reply does not say which files the worker has written: {error}") from None
    if not shares_files and not all(scheme_of(target) in schemes for _, target in found):
        raise WireError("the reply names files that the worker cannot have written")
    return [_handed_over(*pair) for pair in found]


def _handed_over(temporary: str, target: str) -> Handed | HandedUpload:
    if not is_url(target):
        return Handed(temporary, target)
    from petal.data.uploads import HandedUpload

    return HandedUpload(temporary, target)


def let_go() -> None:
    """Unlock the files that have been published or dropped by now."""
    for pair in list(_handed):
        outputs, handed = pair
        if not any(os.path.exists(one.temporary) for one in handed):
            outputs.let_go()
            _handed.remove(pair)
