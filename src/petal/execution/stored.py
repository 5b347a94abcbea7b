"""What is used again in a run that goes on: outputs that are stored, in the place of nodes (S9.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from petal.execution.state import Collected, Stored
from petal.spec.views import Seen

if TYPE_CHECKING:
    from petal.data.artifact import Artifact


class Reused(Struct, frozen=True):
    """What a node gave before its run was stopped: an override that is taken as it is (S9.3).

    Attributes:
        artifact: Its output, verified; None where nobody needs it.
        rows: The rows that it gave.
    """

    artifact: Artifact | None = None
    rows: int | None = None

    def value(self, seen: Seen) -> Any:
        """Return the output as it flows, ``seen`` so."""
        if self.artifact is None:
            return None
        return Collected(Stored(self.artifact), seen) if seen.view.streams else self.artifact.load()
