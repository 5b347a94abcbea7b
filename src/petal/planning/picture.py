"""Show a pipeline's graph as text: a one-line chain, rows of boxes or an outline; also Mermaid and DOT."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from petal.planning.layered import NoPicture, layered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["dot", "draw", "mermaid", "tree"]

Edge = tuple[str, str]

_MOST_BOXES = 150  # nodes; a larger graph is shown as an outline at once
_MOST_LINES = 400  # edges; likewise
_GAPS = (3, 4, 1)  # columns between boxes, tried in this order; the last saves room on a narrow terminal
_MOST_LEVELS = 8  # of indentation in an outline, before the longest branch is kept unindented
_PLAIN = re.compile(r"[\w./:@-]+")


def draw(
    name: str,
    nodes: Sequence[str],
    edges: Sequence[Edge],
    *,
    ascii: bool = False,
    width: int | None = None,
) -> str:
    """Draw a graph for a terminal, in the plainest form that fits.

    A chain is one line, anything else is rows of boxes. Where that is wider than ``width``, has more than 150
    nodes, or would need lines that could be misread, the outline of `tree` is used. Parts of the graph that
    aren't connected are drawn one after the other.

    Args:
        name: The pipeline's name, for the first line.
        nodes: Node ids, in the order in which to show them where the edges leave a choice.
        edges: Pairs (from, to) of node ids; a pair given twice is one line.
        ascii: Use ASCII characters only.
        width: Columns of the terminal, or None for no limit.

    Returns:
        Lines joined by newlines, the first being ``Pipeline: NAME``.
    """
    graph = _read_graph(nodes, edges, ascii_only=ascii)
    if len(graph.children) > _MOST_BOXES or sum(map(len, graph.children.values())) > _MOST_LINES:
        return _titled(name, _outline(graph, _style(ascii), width), ascii)
    lines: list[str] = []
    was_chain = True
    for part in _parts(graph):
        chain = _chain(part, _style(ascii), width)
        if lines and not (chain and was_chain):
            lines.append("")
        lines += [chain] if chain else _boxes(part, ascii, width)
        was_chain = bool(chain)
    return _titled(name, lines, ascii)


def tree(
    name: str,
    nodes: Sequence[str],
    edges: Sequence[Edge],
    *,
    ascii: bool = False,
    width: int | None = None,
) -> str:
    """Show a graph of any size as an outline, one line for each edge and each source.

    ``▼ b`` stands right below the node that feeds b; ``├─▶ b`` and ``└─▶ c`` are the branches of the node
    above them. A node with several parents has its own children below it once; elsewhere it is marked
    ``(above)`` or ``(below)``. Deep outlines keep the largest branch unindented, so that n nodes need at most
    log2(n) levels.

    Args:
        name: The pipeline's name, for the first line.
        nodes: Node ids, in the order in which to show them.
        edges: Pairs (from, to) of node ids; a pair given twice is one line.
        ascii: Use ASCII characters only.
        width: Columns of the terminal; where the usual outline is wider, the one for deep graphs is used.

    Returns:
        Lines joined by newlines, the first being ``Pipeline: NAME``.
    """
    return _titled(name, _outline(_read_graph(nodes, edges, ascii_only=ascii), _style(ascii), width), ascii)


def mermaid(name: str, nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Return the graph as a Mermaid flowchart, as GitHub and many wikis render it."""
    graph = _read_graph(nodes, edges)
    title = _visible(name).replace("\\", "\\\\").replace('"', '\\"')
    keys = {node: f"n{i}" for i, node in enumerate(graph.children)}
    lines = ["---", f'title: "{title}"', "---", "flowchart LR"]
    lines += [f'    {key}["{_mermaid_text(node)}"]' for node, key in keys.items()]
    lines += [f"    {keys[source]} --> {keys[target]}" for source, target in graph.edges()]
    return "\n".join(lines)


def dot(name: str, nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Return the graph in Graphviz's DOT language."""
    graph = _read_graph(nodes, edges)
    lines = [
        f"digraph {_dot_quoted(name)} {{",
        "    rankdir=LR;",
        f"    label={_dot_label(name)};",
        "    node [shape=box];",
    ]
    for node in graph.children:
        label = "" if _PLAIN.fullmatch(node) else f" [label={_dot_label(node)}]"
        lines.append(f"    {_dot_quoted(node)}{label};")
    lines += [f"    {_dot_quoted(source)} -> {_dot_quoted(target)};" for source, target in graph.edges()]
    return "\n".join([*lines, "}"])


@dataclass(frozen=True, slots=True)
class _Graph:
    """The children and parents of each node, each once and in the order given, and its label."""

    children: Mapping[str, Sequence[str]]
    parents: Mapping[str, Sequence[str]]
    labels: Mapping[str, str]

    def edges(self) -> Iterator[Edge]:
        """Yield each edge once."""
        return ((source, target) for source, targets in self.children.items() for target in targets)


class _Style(NamedTuple):
    """The pieces of chains and outlines."""

    arrow: str
    next: str
    branch: str
    last: str
    upright: str


_UNICODE = _Style(arrow=" ──▶ ", next="▼ ", branch="├─▶ ", last="└─▶ ", upright="│   ")
_ASCII = _Style(arrow=" --> ", next="v ", branch="+-> ", last="'-> ", upright="|   ")


def _style(ascii_only: bool) -> _Style:
    return _ASCII if ascii_only else _UNICODE


def _read_graph(nodes: Sequence[str], edges: Sequence[Edge], *, ascii_only: bool = False) -> _Graph:
    """Collect the edges by node, dropping repetitions."""
    pairs = dict.fromkeys(edges)
    known = dict.fromkeys([*nodes, *(node for pair in pairs for node in pair)])
    children: dict[str, list[str]] = {node: [] for node in known}
    parents: dict[str, list[str]] = {node: [] for node in known}
    for source, target in pairs:
        children[source].append(target)
        parents[target].append(source)
    return _Graph(children, parents, {node: _label(node, ascii_only) for node in known})


def _titled(name: str, lines: Sequence[str], ascii_only: bool) -> str:
    return "\n".join([f"Pipeline: {_visible(name, ascii_only)}", *(lines or ["(no nodes)"])])


def _visible(text: str, ascii_only: bool = False) -> str:
    """Replace what can't be shown (control characters, newlines) by its Python escape."""
    return "".join(
        char
        if char.isprintable() and (char.isascii() or not ascii_only)
        else char.encode("unicode_escape").decode()
        for char in text
    )


def _label(node: str, ascii_only: bool) -> str:
    """Return a node id for a picture: as it is, or quoted where its characters could be taken for lines."""
    if _PLAIN.fullmatch(node) and (node.isascii() or not ascii_only):
        return node
    return '"' + _visible(node.replace("\\", "\\\\").replace('"', '\\"'), ascii_only) + '"'


def _columns(text: str) -> int:
    """Count the terminal columns of a text; East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _fits(lines: Sequence[str], width: int | None) -> bool:
    return width is None or all(_columns(line) <= width for line in lines)


def _parts(graph: _Graph) -> Iterator[_Graph]:
    """Yield the connected parts of a graph, in the order of their first nodes."""
    seen: set[str] = set()
    for first in graph.children:
        if first in seen:
            continue
        found, waiting = {first}, [first]
        while waiting:
            node = waiting.pop()
            near = {*graph.children[node], *graph.parents[node]} - found
            found |= near
            waiting.extend(near)
        seen |= found
        part = [node for node in graph.children if node in found]
        yield _Graph(
            {node: graph.children[node] for node in part},
            {node: graph.parents[node] for node in part},
            {node: graph.labels[node] for node in part},
        )


def _chain(part: _Graph, style: _Style, width: int | None) -> str:
    """Return a connected graph as one line, or "" where it isn't a chain or is too wide."""
    first = [node for node, parents in part.parents.items() if not parents]
    if len(first) != 1 or any(len(near) > 1 for near in [*part.children.values(), *part.parents.values()]):
        return ""
    names, node = [], first
    while node:
        names.append(f"[{part.labels[node[0]]}]")
        node = list(part.children[node[0]])
    line = style.arrow.join(names)
    return line if _fits([line], width) else ""


def _boxes(part: _Graph, ascii_only: bool, width: int | None) -> list[str]:
    """Return a connected graph as rows of boxes, or as an outline where a chain or the boxes don't fit."""
    style = _style(ascii_only)
    is_chain = bool(_chain(part, style, None))
    wide = any(_columns(label) != len(label) for label in part.labels.values())
    for gap in () if is_chain or wide else _GAPS:
        try:
            return layered(part.labels, part.edges(), ascii_only=ascii_only, width=width, gap=gap)
        except NoPicture:
            continue
    return _outline(part, style, width)


def _outline(graph: _Graph, style: _Style, width: int | None) -> list[str]:
    """Return the lines of the outline: nested, or with the largest branches unindented where that is deep."""
    order, owner = _spanning_tree(graph)
    usual: dict[str, str] = {n: children[0] for n, children in graph.children.items() if len(children) == 1}
    levels: dict[str, int] = {}
    for node in order:
        parent = owner[node]
        levels[node] = 0 if parent is None else levels[parent] + (usual.get(parent) != node)
    if max(levels.values(), default=0) <= _MOST_LEVELS:
        lines = _outline_lines(graph, style, order, owner, usual)
        if _fits(lines, width):
            return lines
    sizes = dict.fromkeys(order, 1)
    largest: dict[str, str] = {}
    for node in reversed(order):
        parent = owner[node]
        if parent is not None:
            sizes[parent] += sizes[node]
            if parent not in largest or sizes[node] > sizes[largest[parent]]:
                largest[parent] = node
    return _outline_lines(graph, style, order, owner, {**usual, **largest})


def _spanning_tree(graph: _Graph) -> tuple[list[str], dict[str, str | None]]:
    """Walk the graph depth first; return the nodes in that order, and each one's parent on the way."""
    owner: dict[str, str | None] = {}
    roots = [node for node, parents in graph.parents.items() if not parents]
    waiting: list[tuple[str, str | None]] = [(node, None) for node in reversed([*roots, *graph.children])]
    while waiting:
        node, parent = waiting.pop()
        if node not in owner:
            owner[node] = parent
            waiting.extend((child, node) for child in reversed(graph.children[node]))
    return list(owner), owner


def _outline_lines(
    graph: _Graph,
    style: _Style,
    order: Sequence[str],
    owner: Mapping[str, str | None],
    followers: Mapping[str, str],
) -> list[str]:
    """Write the outline; ``followers`` names the child of a node, if any, that stands unindented below it."""
    lines: list[str] = []
    shown: set[str] = set()
    # Each entry is a line to write: node, parent, what stands before the node, and before its children.
    waiting: list[tuple[str, str | None, str, str]] = [
        (node, None, "", "") for node in reversed(order) if owner[node] is None
    ]
    while waiting:
        node, parent, before, indent = waiting.pop()
        if owner[node] != parent:
            lines.append(f"{before}{graph.labels[node]} ({'above' if node in shown else 'below'})")
            continue
        shown.add(node)
        lines.append(before + graph.labels[node])
        follower = followers.get(node)
        branches = [child for child in graph.children[node] if child != follower]
        if follower is not None:
            waiting.append((follower, node, indent + style.next, indent))
        for child in reversed(branches):
            if follower is None and child == branches[-1]:
                waiting.append((child, node, indent + style.last, indent + "    "))
            else:
                waiting.append((child, node, indent + style.branch, indent + style.upright))
    return lines


def _mermaid_text(text: str) -> str:
    """Escape a label: whatever Mermaid, Markdown or HTML might read as markup becomes a character code."""
    return "".join(char if char.isalnum() or char in " _-/." else f"#{ord(char)};" for char in _visible(text))


def _dot_quoted(text: str) -> str:
    r"""Quote a DOT identifier; ``\"`` is the only escape there, doubled backslashes keep ids distinct."""
    return '"' + _visible(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _dot_label(text: str) -> str:
    r"""Quote a DOT label, where Graphviz would also read ``\N`` and ``&amp;``."""
    return '"' + _visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") + '"'
