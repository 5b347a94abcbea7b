"""The three functions of the pipeline `hello`; inputs bear the names of the functions that give them."""


def a() -> int:
    """Give one."""
    return 1


def b(a: int) -> int:
    """Add one."""
    return a + 1


def c(a: int, b: int) -> int:
    """Add both."""
    return a + b
