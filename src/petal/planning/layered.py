"""Draw a small graph as rows of boxes joined by lines that can't be misread.

The method is Sugiyama's: rank the nodes in rows, order each row to save crossings, choose columns, then route
the lines between two rows. Lines of different sources never merge, a junction always means "joined", and a
crossing is drawn as a bridge. Where that can't be kept, `NoPicture` is raised.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate, chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Edge = tuple[str, str]

_SWEEPS = 8  # passes that reorder the rows; crossings rarely fall after the fourth
_PULLS = 12  # passes that pull boxes towards their neighbours; the last few look both ways
_MOST_ITEMS = 1500  # boxes and passing lines; beyond this nobody could read the picture

_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8
_UPRIGHT, _LEVEL = _UP | _DOWN, _LEFT | _RIGHT


class NoPicture(Exception):
    """The graph can't be drawn in rows without lines that could be misread."""


class Item(NamedTuple):
    """One place in a row: a box, or the line of ``node`` passing that row."""

    node: str
    row: int
    is_box: bool


class Layers(NamedTuple):
    """The rows of items, and for each row the links to the next row."""

    rows: list[list[Item]]
    links: list[list[tuple[Item, Item]]]


def layered(
    labels: Mapping[str, str], edges: Iterable[Edge], *, ascii_only: bool, width: int | None, gap: int
) -> list[str]:
    """Draw one connected graph as rows of boxes, sources at the top.

    Args:
        labels: What to write in the box of each node, in the order preferred from left to right.
        edges: Pairs (from, to) of nodes in ``labels``, each pair once.
        ascii_only: Draw with ASCII characters.
        width: The most columns to use, or None for no limit.
        gap: Empty columns between neighbours in a row.

    Returns:
        The lines of the picture.

    Raises:
        NoPicture: The graph has a cycle, is too wide or too large, or two lines would have to share a place.
    """
    layers = _build_layers(list(labels), list(edges))
    _order_rows(layers)
    widths = _item_widths(layers, labels)
    lefts = _place_items(layers, widths, gap)
    if width is not None and max(lefts[item] + widths[item] for item in lefts) > width:
        raise NoPicture("too wide")
    canvas, top = _Canvas(_ASCII if ascii_only else _UNICODE), 0
    for row, links in zip(layers.rows, layers.links, strict=True):
        wires, heads = _pick_wires(links, lefts, widths)
        starts = {wire.source: wire.start for wire in wires}
        tracks = _assign_tracks(wires)
        below = top + 3 + max(tracks.values(), default=-1) + 1  # the line of the arrow heads
        for item in row:
            if item.is_box:
                canvas.box(lefts[item], top, labels[item.node], widths[item], starts.get(item.node))
            else:
                canvas.vertical(item.node, lefts[item], top, top + 3)
        for wire in wires:
            canvas.wire(wire, top + 3, tracks.get(wire.source), below, heads)
        top = below + 1
    return canvas.lines()


def _rank_nodes(nodes: Iterable[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Give each node its row: below all its parents, sources just above their first child."""
    parents: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        parents[target].append(source)
    try:
        order = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise NoPicture("the graph has a cycle") from error
    ranks: dict[str, int] = {}
    for node in order:
        ranks[node] = max((ranks[parent] + 1 for parent in parents[node]), default=0)
    for node in order:
        if not parents[node]:
            ranks[node] = min((ranks[target] for source, target in edges if source == node), default=1) - 1
    return ranks


def _build_layers(nodes: Sequence[str], edges: Sequence[Edge]) -> Layers:
    """Put the nodes in rows and cut each edge into links from row to row.

    The long edges of one source share one passing line, so that its picture branches as late as possible.
    """
    ranks = _rank_nodes(nodes, edges)
    rows: list[dict[Item, None]] = [{} for _ in range(max(ranks.values()) + 1)]
    links: list[dict[tuple[Item, Item], None]] = [{} for _ in rows]
    for node in nodes:
        rows[ranks[node]][Item(node, ranks[node], True)] = None
    for source, target in edges:
        above = Item(source, ranks[source], True)
        for row in range(ranks[source] + 1, ranks[target]):
            passing = Item(source, row, False)
            rows[row][passing] = None
            links[row - 1][above, passing] = None
            above = passing
        links[ranks[target] - 1][above, Item(target, ranks[target], True)] = None
    if sum(map(len, rows)) > _MOST_ITEMS:
        raise NoPicture("too large")
    return Layers([list(row) for row in rows], [list(pairs) for pairs in links])


def _count_crossings(layers: Layers) -> int:
    """Count the pairs of links that cross, over all gaps."""
    total = 0
    for row, pairs in enumerate(layers.links[:-1]):
        above = {item: i for i, item in enumerate(layers.rows[row])}
        below = {item: i for i, item in enumerate(layers.rows[row + 1])}
        seen: list[int] = []
        for _, place in sorted((above[upper], below[lower]) for upper, lower in pairs):
            total += len(seen) - bisect_right(seen, place)
            insort(seen, place)
    return total


def _order_rows(layers: Layers) -> None:
    """Reorder each row to save crossings, by the barycentre heuristic."""
    best = _count_crossings(layers)
    best_rows = [list(row) for row in layers.rows]
    rows = range(len(layers.rows))
    for sweep in range(_SWEEPS if best else 0):
        down = sweep % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            _sort_row(layers, row, down=down)
        crossings = _count_crossings(layers)
        if crossings < best:
            best, best_rows = crossings, [list(items) for items in layers.rows]
    layers.rows[:] = best_rows


def _sort_row(layers: Layers, row: int, *, down: bool) -> None:
    """Sort one row by the mean place of each item's neighbours above (or below)."""
    fixed = layers.rows[row - 1 if down else row + 1]
    place = {item: i for i, item in enumerate(fixed)}
    neighbours: dict[Item, list[int]] = {item: [] for item in layers.rows[row]}
    for upper, lower in layers.links[row - 1 if down else row]:
        item, other = (lower, upper) if down else (upper, lower)
        neighbours[item].append(place[other])
    means = {item: sum(p) / len(p) if p else i for i, (item, p) in enumerate(neighbours.items())}
    layers.rows[row].sort(key=means.__getitem__)


def _item_widths(layers: Layers, labels: Mapping[str, str]) -> dict[Item, int]:
    """Return the columns each item needs: its label, and room for its arrow heads."""
    heads = Counter(lower for _, lower in chain.from_iterable(layers.links))
    room = {item: 2 * heads[item] + 5 if heads[item] > 1 else 5 for item in chain.from_iterable(layers.rows)}
    return {item: max(len(labels[item.node]) + 4, room[item]) if item.is_box else 1 for item in room}


def _place_items(layers: Layers, widths: Mapping[Item, int], gap: int) -> dict[Item, int]:
    """Choose the left column of each item: near its neighbours, in order, ``gap`` apart."""
    lefts: dict[Item, int] = {}
    for row in layers.rows:
        lefts.update(zip(row, accumulate((widths[item] + gap for item in row), initial=0), strict=False))
    upper: dict[Item, list[Item]] = {item: [] for item in lefts}
    lower: dict[Item, list[Item]] = {item: [] for item in lefts}
    for above, below in chain.from_iterable(layers.links):
        upper[below].append(above)
        lower[above].append(below)
    for turn in range(_PULLS):
        down, both = turn % 2 == 0, turn > 8
        for row in layers.rows if down else reversed(layers.rows):
            wanted: list[float] = []
            for item in row:
                near = (upper[item] if down or both else []) + (lower[item] if not down or both else [])
                middles = [lefts[other] + widths[other] // 2 for other in near]
                wanted.append(sum(middles) / len(middles) - widths[item] // 2 if near else lefts[item])
            steps = [widths[item] + gap for item in row]
            lefts.update(zip(row, _spread(wanted, steps), strict=True))
    first = min(lefts.values())
    return {item: left - first for item, left in lefts.items()}


def _spread(wanted: Sequence[float], steps: Sequence[int]) -> list[int]:
    """Return the columns nearest to ``wanted`` that keep the order and the distances ``steps``.

    This is least-squares isotonic regression by pooling adjacent violators.
    """
    offsets = list(accumulate(steps[:-1], initial=0))
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        value, size = want - offset, 1
        while pools and pools[-1][0] > value:
            other, count = pools.pop()
            value, size = (other * count + value * size) / (count + size), size + count
        pools.append((value, size))
    values = [round(value) for value, size in pools for _ in range(size)]
    return [value + offset for value, offset in zip(values, offsets, strict=True)]


@dataclass(slots=True)
class Wire:
    """The line from one item down through a gap to all its targets in the next row."""

    source: str
    start: int
    ends: list[int] = field(default_factory=list)

    @property
    def span(self) -> tuple[int, int]:
        """The leftmost and the rightmost column."""
        return min(self.start, *self.ends), max(self.start, *self.ends)

    def crossings_above(self, other: Wire) -> int:
        """Count the crossings if this wire turns on a track above that of ``other``."""
        (left, right), (other_left, other_right) = self.span, other.span
        return (left < other.start < right) + sum(other_left < end < other_right for end in self.ends)


def _pick_wires(
    links: Sequence[tuple[Item, Item]], lefts: Mapping[Item, int], widths: Mapping[Item, int]
) -> tuple[list[Wire], set[int]]:
    """Choose the columns where the lines of one gap start and end, and which ends are arrow heads."""
    wires: dict[str, Wire] = {}
    arriving: dict[Item, list[Wire]] = {}
    for upper, lower in links:
        wire = wires.setdefault(upper.node, Wire(upper.node, lefts[upper] + widths[upper] // 2))
        arriving.setdefault(lower, []).append(wire)
    starts = {wire.start for wire in wires.values()}
    heads: set[int] = set()
    for item, sources in arriving.items():
        if not item.is_box:
            sources[0].ends.append(lefts[item])
            continue
        sources.sort(key=lambda wire: wire.start)
        inside = range(lefts[item] + 1, lefts[item] + widths[item] - 1)
        ports = _pick_ports(inside, [wire.start for wire in sources], starts)
        heads.update(ports)
        for wire, port in zip(sources, ports, strict=True):
            wire.ends.append(port)
    return list(wires.values()), heads


def _pick_ports(inside: range, sources: Sequence[int], starts: set[int]) -> list[int]:
    """Choose a column for each arrow head, in order: straight down, or about two apart around the middle.

    A head never stands below the start of another line, so only passing lines can get in each other's way.
    """
    spare = [c for c in inside if c not in starts]
    ports = [inside.start - 1]
    for i, source in enumerate(sources):
        left = len(sources) - i - 1
        free = [c for c in range(ports[-1] + 1, inside.stop) if c == source or c not in starts]
        free = [c for c in free if len(spare) - bisect_right(spare, c) >= left]
        if not free:
            raise NoPicture("no room for the arrow heads")
        ideal = inside[len(inside) // 2] + i - left
        touching = {ports[-1] + 1, *(start - 1 for start in sources[i + 1 :])}
        touching.update(range(inside.stop - 2 * left, inside.stop))  # leaves too little room for the others
        ports.append(min(free, key=lambda c: (c in touching, c != source, abs(c - ideal))))
    return ports[1:]


def _assign_tracks(wires: Sequence[Wire]) -> dict[str, int]:
    """Give each wire that turns a track (a text line of the gap), 0 at the top.

    A wire that ends below the start of another one must turn beneath it; otherwise the order that saves
    crossings is taken. Wires on one track keep an empty column between them.
    """
    waiting = [wire for wire in wires if set(wire.ends) != {wire.start}]
    cost = {w.source: sum(w.crossings_above(other) for other in waiting if other is not w) for w in waiting}
    done: list[tuple[int, int, int]] = []  # the spans already placed, and their tracks
    tracks: dict[str, int] = {}
    while waiting:
        starts = {wire.start: wire for wire in waiting}
        ready = [wire for wire in waiting if all(starts.get(end, wire) is wire for end in wire.ends)]
        if not ready:
            raise NoPicture("lines would overlap")
        wire = min(ready, key=lambda w: (cost[w.source], w.span[1] - w.span[0], w.span))
        waiting.remove(wire)
        for other in waiting:
            cost[other.source] -= other.crossings_above(wire)
        low, high = wire.span
        touching = [track for left, right, track in done if low <= right + 1 and left <= high + 1]
        tracks[wire.source] = max(touching, default=-1) + 1
        done.append((low, high, tracks[wire.source]))
    return tracks


class _Glyphs(NamedTuple):
    """The characters of one style: ``lines`` by the arms they join, ``box`` by its three lines."""

    lines: Mapping[int, str]
    bridge: str
    head: str
    box: Sequence[tuple[str, str, str]]
    output: str


_UNICODE = _Glyphs(
    lines={3: "└", 5: "│", 6: "┌", 7: "├", 9: "┘", 10: "─", 11: "┴", 12: "┐", 13: "┤", 14: "┬", 15: "┼"},
    bridge="│",
    head="▼",
    box=(("╭", "─", "╮"), ("│", " ", "│"), ("╰", "─", "╯")),
    output="┬",
)
# "'" joins upwards, "." downwards, "+" both ways; ")" is an upright line over a level one. With the empty
# column between wires on a track, each character tells which of its sides are joined.
_ASCII = _Glyphs(
    lines={3: "'", 5: "|", 6: ".", 7: "+", 9: "'", 10: "-", 11: "'", 12: ".", 13: "+", 14: ".", 15: "+"},
    bridge=")",
    head="v",
    box=(("+", "-", "+"), ("|", " ", "|"), ("+", "-", "+")),
    output="+",
)


@dataclass(slots=True)
class _Canvas:
    """The picture in the making: text, and for each place the arms of the lines there, by their source."""

    glyphs: _Glyphs
    text: dict[tuple[int, int], str] = field(default_factory=dict)
    arms: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)

    def write(self, x: int, y: int, text: str) -> None:
        """Write characters that no line may run through."""
        self.text.update({(x + i, y): char for i, char in enumerate(text)})

    def box(self, x: int, y: int, label: str, width: int, output: int | None) -> None:
        """Draw a box of three lines; ``output`` is the column where its line starts."""
        for i, (left, fill, right) in enumerate(self.glyphs.box):
            middle = label.center(width - 2) if i == 1 else fill * (width - 2)
            self.write(x, y + i, left + middle + right)
        if output is not None:
            self.write(output, y + 2, self.glyphs.output)

    def join(self, source: str, x: int, y: int, arms: int) -> None:
        """Add arms to the line of ``source`` at one place."""
        place = self.arms.setdefault((x, y), {})
        place[source] = place.get(source, 0) | arms

    def vertical(self, source: str, x: int, start: int, stop: int) -> None:
        """Draw a line down column ``x`` from line ``start`` to before ``stop``."""
        for y in range(start, stop):
            self.join(source, x, y, _UPRIGHT)

    def wire(self, wire: Wire, top: int, track: int | None, below: int, heads: set[int]) -> None:
        """Draw a wire from line ``top`` to the arrow heads on line ``below``."""
        turn = below if track is None else top + track
        self.vertical(wire.source, wire.start, top, turn)
        if track is not None:
            self.join(wire.source, wire.start, turn, _UP)
            for x in range(*wire.span):
                self.join(wire.source, x, turn, _RIGHT)
                self.join(wire.source, x + 1, turn, _LEFT)
        for end in wire.ends:
            if track is not None:
                self.join(wire.source, end, turn, _DOWN)
            self.vertical(wire.source, end, turn + 1, below)
            if end in heads:
                self.write(end, below, self.glyphs.head)
            else:
                self.join(wire.source, end, below, _UPRIGHT)

    def lines(self) -> list[str]:
        """Return the picture, or refuse where lines of different sources would share a place."""
        if not self.text.keys().isdisjoint(self.arms):
            raise NoPicture("a line would run through a box")
        cells = dict(self.text)
        for place, lines in self.arms.items():
            joined = list(lines.values())
            if len(joined) > 1 and sorted(joined) != [_UPRIGHT, _LEVEL]:
                raise NoPicture("lines would overlap")
            cells[place] = self.glyphs.bridge if len(joined) > 1 else self.glyphs.lines[joined[0]]
        rows: dict[int, dict[int, str]] = {}
        for (x, y), char in cells.items():
            rows.setdefault(y, {})[x] = char
        return ["".join(row.get(x, " ") for x in range(max(row) + 1)) for _, row in sorted(rows.items())]
