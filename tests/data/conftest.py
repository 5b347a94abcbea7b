"""What a run leaves behind is looked at here as well."""

from tests.execution.conftest import nothing_leaks

__all__ = ["nothing_leaks"]
