"""Draw a pipeline: as text, for Mermaid and Graphviz, and for notebooks."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from petal.app.parts import PartHolder
from petal.errors import InvalidPipeline
from petal.planning.stages import plan_edges
from petal.spec.pipeline import ModuleSpec, NodeSpec

if TYPE_CHECKING:
    from petal.planning.build import Planned


class Drawn(PartHolder):
    """What of a pipeline draws it."""

    @abstractmethod
    def planned(self) -> Planned:
        """Resolve and validate; all findings and, without errors, the plan."""

    def edges(self) -> tuple[list[str], list[tuple[str, str]]]:
        """Return node ids and edges as far as they can be told, also of a pipeline with mistakes."""
        planned = self.planned()
        if planned.plan is not None:
            return plan_edges(planned.plan)
        ids = [n.id for n in self.part.spec.nodes] + [m.id for m in self.part.spec.modules]
        pairs = [(e.source.partition(".")[0], e.target.partition(".")[0]) for e in self.part.spec.edges]
        entries: list[NodeSpec | ModuleSpec] = [*self.part.spec.nodes, *self.part.spec.modules]
        for spec in entries:
            for source in spec.inputs.values():
                pairs += [
                    (s.partition(".")[0], spec.id)
                    for s in (source if isinstance(source, tuple) else (source,))
                ]
        return ids, [p for p in pairs if p[0] in ids and p[1] in ids and p[0] != p[1]]

    def ascii(self, *, ascii: bool = False, width: int | None = None) -> str:
        """Draw the pipeline as text; with ``ascii=True`` without box-drawing characters."""
        from petal.planning import picture

        nodes, edges = self._acyclic()
        return picture.draw(self.part.spec.name, nodes, edges, ascii=ascii, width=width)

    def mermaid(self) -> str:
        """Draw the pipeline as a Mermaid diagram."""
        from petal.planning import picture

        return picture.mermaid(self.part.spec.name, *self.edges())

    def dot(self) -> str:
        """Draw the pipeline in Graphviz's language."""
        from petal.planning import picture

        return picture.dot(self.part.spec.name, *self.edges())

    def _acyclic(self) -> tuple[list[str], list[tuple[str, str]]]:
        planned = self.planned()
        if planned.plan is None:
            cyclic = [d for d in planned.findings if d.code == "cycle"]
            if cyclic:
                raise InvalidPipeline("a pipeline with a cycle cannot be drawn", cyclic)
        return self.edges()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        """What a notebook shows: Mermaid where it can, text elsewhere."""
        source = self.mermaid()
        return {
            "text/plain": self.ascii(),
            "text/vnd.mermaid": source,
            "text/markdown": f"```mermaid\n{source}\n```",
        }
