"""A pipeline together with where it was written and what its names mean."""

from __future__ import annotations

from typing import Any, Protocol

from petal.errors import Location
from petal.spec.diagnostic import Diagnostic
from petal.spec.operator import OperatorSpec
from petal.spec.pipeline import PipelineSpec


class Source(Protocol):
    """Says where each part of a pipeline was written."""

    @property
    def file(self) -> str | None:
        """The file as the user named it, None where there is none."""
        ...

    def locate(self, path: tuple[str | int, ...], *, key: bool = False) -> Location | None:
        """Return the place of the value at a path such as ``("nodes", 3, "params", "pattern")``, or of its key."""
        ...


class Operator(Protocol):
    """An operator that a name stands for."""

    @property
    def spec(self) -> OperatorSpec:
        """Its description."""
        ...

    @property
    def target(self) -> Any:
        """The function or class."""
        ...

    @property
    def origin(self) -> str:
        """Where it came from, for people: ``built-in``, ``./operators.py``, ``petal-docker 1.2``."""
        ...


class Names(Protocol):
    """The operators that a pipeline can name (S2.5)."""

    def find(self, name: str) -> Operator | None:
        """Return the operator of that name."""
        ...

    def own(self, name: str) -> Operator | None:
        """Return the operator of that name that the pipeline was made of in Python."""
        ...

    def shadowed(self, name: str) -> list[str]:
        """Return the origins of other operators of that name, which the one found hides."""
        ...

    def close_matches(self, name: str) -> list[str]:
        """Return the most similar names there are, best first."""
        ...


class Part(Protocol):
    """One pipeline, loaded: the root, or a module inside it."""

    @property
    def spec(self) -> PipelineSpec:
        """What its author wrote."""
        ...

    @property
    def source(self) -> Source:
        """Where."""
        ...

    @property
    def names(self) -> Names:
        """The operators it can name."""
        ...

    @property
    def folder(self) -> str:
        """The folder that its ``Path`` parameters are relative to."""
        ...

    @property
    def root(self) -> str:
        """The project's root: what the pipeline loads lies beneath it (S7.3)."""
        ...

    @property
    def findings(self) -> list[Diagnostic]:
        """What reading it found."""
        ...

    @property
    def implied(self) -> frozenset[str]:
        """Pipeline inputs that nobody declared: functions given in Python asked for them (S2.2)."""
        ...

    @property
    def blind(self) -> bool:
        """Whether its Python was not loaded (``--no-code``), so that an unknown operator is no error."""
        ...


class PartLoader(Protocol):
    """Loads the file of a module."""

    def __call__(self, path: str, parent: Part) -> Part:
        """Load the pipeline at ``path``, relative to the parent's file; its mistakes are in ``findings``.

        Raises:
            PetalError: The file cannot be read at all.
        """
        ...
