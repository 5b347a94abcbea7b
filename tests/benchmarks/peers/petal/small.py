"""An operator that does next to nothing, in a container."""

from petal import operator


@operator
def increment(*, number: int) -> int:
    """Add one."""
    return number + 1


@operator
def next_one(number: int) -> int:
    """Add one to what another node gave."""
    return number + 1
