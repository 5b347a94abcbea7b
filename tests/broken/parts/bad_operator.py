"""Hold an operator that cannot be one."""

from petal import operator


@operator
def anything(**rest: int) -> int:
    return 1
