"""What a reader, given only the characters of a picture, can tell about the graph."""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise

import pytest

from petal.planning.picture import dot, draw, mermaid, tree

UP, RIGHT, DOWN, LEFT = (0, -1), (1, 0), (0, 1), (-1, 0)
# What each character joins. "?" stands for a side of an ASCII corner, to be told from the character beside it.
UNICODE_ARMS = {
    "│": {UP, DOWN},
    "─": {LEFT, RIGHT},
    "└": {UP, RIGHT},
    "┘": {UP, LEFT},
    "┌": {DOWN, RIGHT},
    "┐": {DOWN, LEFT},
    "├": {UP, DOWN, RIGHT},
    "┤": {UP, DOWN, LEFT},
    "┴": {UP, LEFT, RIGHT},
    "┬": {DOWN, LEFT, RIGHT},
    "┼": {UP, DOWN, LEFT, RIGHT},
}
ASCII_ARMS = {"|": {UP, DOWN}, "-": {LEFT, RIGHT}, "'": {UP}, ".": {DOWN}, "+": {UP, DOWN}}
TREE_LINE = re.compile(
    r"((?:│   |\|   |    )*)(├─▶ |└─▶ |\+-> |'-> |▼ |v (?=\S))?(\S+)( \((?:above|below)\))?"
)


class Unreadable(Exception):
    """The lines of a picture lead nowhere."""


def decode(picture):
    """Return the nodes and edges that the text of a picture shows, whichever form was drawn."""
    first, _, body = picture.partition("\n")
    assert first.startswith("Pipeline: ")
    nodes, edges = set(), []
    for block in body.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("["):
            found = decode_chains(lines)
        elif re.match(r" *(╭─+╮|\+-+\+)", lines[0]):
            found = decode_boxes(lines)
        else:
            found = decode_tree(lines)
        nodes |= found[0]
        edges += found[1]
    assert len(edges) == len(set(edges)), "an edge is shown twice"
    return nodes, set(edges)


def decode_chains(lines):
    nodes, edges = set(), []
    for line in lines:
        parts = re.split(" (?:──▶|-->) ", line)
        if not all(re.fullmatch(r"\[[^][ ]+\]", part) for part in parts):
            raise Unreadable(line)
        names = [part[1:-1] for part in parts]
        nodes |= set(names)
        edges += pairwise(names)
    return nodes, edges


def decode_tree(lines):
    nodes, mentions, edges = set(), set(), []
    column = {}  # for each column, the last node whose branches would start there
    for line in lines:
        match = TREE_LINE.fullmatch(line)
        if match is None:
            raise Unreadable(line)
        indent, mark, name, note = match.groups()
        depth = len(indent)
        if mark:
            if depth not in column:
                raise Unreadable(line)
            edges.append((column[depth], name))
        elif indent:
            raise Unreadable(line)
        if note:
            assert (note == " (above)") == (name in nodes)
            mentions.add(name)
            continue
        if name in nodes:
            raise Unreadable(f"{name} is described twice")
        nodes.add(name)
        column[depth + (4 if mark and len(mark) == 4 else 0)] = name
    if not mentions <= nodes:
        raise Unreadable(f"{mentions - nodes} are mentioned but not shown")
    return nodes, edges


def find_boxes(lines):
    """Return the name of each box, the columns of its bottom where lines start, and its top's place."""
    boxes = []
    for y, line in enumerate(lines[:-2]):
        for top in re.finditer(r"╭─+╮|\+-+\+", line):
            left, right = top.span()
            side, bottom = lines[y + 1][left:right], lines[y + 2][left:right]
            if re.fullmatch(r"[│|] *\S+ *[│|]", side) and re.fullmatch(r"[╰+][─┬+-]+[╯+]", bottom):
                starts = [left + 1 + i for i, char in enumerate(bottom[1:-1]) if char in "┬+"]
                boxes.append((side[1:-1].strip(), y, left, right, starts))
    return boxes


def decode_boxes(lines):
    """Follow the lines from the bottom of each box, character by character, to the arrow heads above boxes."""
    width = max(map(len, lines))
    grid = [line.ljust(width) for line in lines]
    boxes = find_boxes(grid)
    tops = {(x, y): name for name, y, left, right, _ in boxes for x in range(left, right)}
    edges = []
    for name, y, _, _, starts in boxes:
        for start in starts:
            edges += [
                (name, tops.get((x, below + 1), "nothing")) for x, below in follow(grid, (start, y + 2))
            ]
    return {name for name, *_ in boxes}, edges


def char_at(grid, place):
    x, y = place
    return grid[y][x] if 0 <= y < len(grid) and 0 <= x < len(grid[y]) else " "


def arms_at(grid, place):
    char = char_at(grid, place)
    if char in UNICODE_ARMS:
        return UNICODE_ARMS[char]
    arms = set(ASCII_ARMS.get(char, ()))
    if char in "'.+":
        for side in (LEFT, RIGHT):
            if char_at(grid, (place[0] + side[0], place[1])) in "-)'.+":
                arms.add(side)
    return arms


def follow(grid, start):
    """Return the places of all arrow heads that are reached going down from ``start``."""
    heads, done = [], set()
    waiting = [(start, DOWN)]
    while waiting:
        place, (dx, dy) = waiting.pop()
        if (place, (dx, dy)) in done:
            continue
        done.add((place, (dx, dy)))
        ahead = (place[0] + dx, place[1] + dy)
        char = char_at(grid, ahead)
        if char in "▼v" and dy == 1:
            heads.append(ahead)
        elif char == ")" or (char == "│" and dx):  # a bridge: go straight on, above or below
            waiting.append((ahead, (dx, dy)))
        elif (-dx, -dy) in arms_at(grid, ahead):
            waiting += [(ahead, arm) for arm in arms_at(grid, ahead) if arm != (-dx, -dy)]
        else:
            raise Unreadable(f"{char!r} at {ahead}")
    return heads


def random_graph(seed):
    """Return a random acyclic graph of 2 to 14 nodes, from sparse to dense."""
    rng = random.Random(seed)
    nodes = [f"{rng.choice(['n', 'pre/read', 'a-b_', 'v'])}{i}" for i in range(rng.randint(2, 14))]
    share = rng.choice([0.1, 0.2, 0.3, 0.5])
    edges = [(a, b) for i, b in enumerate(nodes) for a in nodes[:i] if rng.random() < share]
    rng.shuffle(nodes)
    rng.shuffle(edges)
    return nodes, edges


def body(picture):
    return picture.split("\n")[1:]


def test_chain_is_one_line():
    """A chain prints on one line, exactly as the brief shows it."""
    picture = draw("extract_logs", ["reader", "filter", "sink"], [("reader", "filter"), ("filter", "sink")])
    assert picture == "Pipeline: extract_logs\n[reader] ──▶ [filter] ──▶ [sink]"


def test_chain_in_ascii():
    """With ascii=True the arrows of a chain are made of minus signs."""
    picture = draw("p", ["sink", "reader"], [("reader", "sink")], ascii=True)
    assert picture == "Pipeline: p\n[reader] --> [sink]"


def test_one_node_and_none():
    """One node is a chain of one, and an empty graph says that it is empty."""
    assert draw("p", ["reader"], []) == "Pipeline: p\n[reader]"
    assert draw("p", [], []) == tree("p", [], []) == "Pipeline: p\n(no nodes)"


def test_chains_side_by_side():
    """Several chains are drawn one per line, other parts of the graph after an empty line."""
    edges = [("a", "b"), ("d", "e"), ("d", "f")]
    picture = draw("p", list("abcdef"), edges)
    assert body(picture)[:3] == ["[a] ──▶ [b]", "[c]", ""]
    assert decode(picture) == (set("abcdef"), set(edges))


def test_fan_out():
    """A node that feeds three others is a box above three boxes, with a line that branches."""
    picture = draw("p", ["read", "a", "b", "c"], [("read", "a"), ("read", "b"), ("read", "c")])
    assert body(picture) == [
        "      ╭──────╮",
        "      │ read │",
        "      ╰───┬──╯",
        "  ┌───────┼───────┐",
        "  ▼       ▼       ▼",
        "╭───╮   ╭───╮   ╭───╮",
        "│ a │   │ b │   │ c │",
        "╰───╯   ╰───╯   ╰───╯",
    ]


def test_diamond():
    """A diamond branches and meets again in one box with two arrow heads."""
    picture = draw("p", list("abcd"), [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    assert body(picture) == [
        "    ╭───╮",
        "    │ a │",
        "    ╰─┬─╯",
        "  ┌───┴───┐",
        "  ▼       ▼",
        "╭───╮   ╭───╮",
        "│ b │   │ c │",
        "╰─┬─╯   ╰─┬─╯",
        "  └──┐ ┌──┘",
        "     ▼ ▼",
        "  ╭───────╮",
        "  │   d   │",
        "  ╰───────╯",
    ]


def test_crossing_in_ascii():
    """In ASCII a crossing is a bridge, ")", and corners tell whether they join upwards or downwards."""
    edges = [(a, b) for a in ("a", "b") for b in ("c", "d")]
    assert body(draw("p", list("abcd"), edges, ascii=True)) == [
        "    +---+   +---+",
        "    | a |   | b |",
        "    +-+-+   +-+-+",
        "   .--'-------).",
        "   | .--------')-.",
        "   v v         v v",
        "+-------+   +-------+",
        "|   c   |   |   d   |",
        "+-------+   +-------+",
    ]


def test_two_ports_are_one_line():
    """Two edges between the same nodes are drawn once."""
    assert draw("p", ["a", "b"], [("a", "b"), ("a", "b")]) == "Pipeline: p\n[a] ──▶ [b]"


def test_too_wide_becomes_a_tree():
    """What is wider than the terminal is shown as an outline, chain or not."""
    chain = draw("p", ["reader", "filter", "sink"], [("reader", "filter"), ("filter", "sink")], width=20)
    assert body(chain) == ["reader", "▼ filter", "▼ sink"]
    edges = [
        ("read", "clean_a"),
        ("read", "clean_b"),
        ("clean_a", "join"),
        ("clean_b", "join"),
        ("join", "save"),
    ]
    assert body(draw("p", [], edges, width=20)) == [
        "read",
        "├─▶ clean_a",
        "│   ▼ join",
        "│   ▼ save",
        "└─▶ clean_b",
        "    ▼ join (above)",
    ]
    assert body(draw("p", [], edges, width=20, ascii=True)) == [
        "read",
        "+-> clean_a",
        "|   v join",
        "|   v save",
        "'-> clean_b",
        "    v join (above)",
    ]


def test_deep_tree_keeps_the_largest_branch_unindented():
    """Where the usual outline is too wide, the largest branch stands last, below its parent."""
    edges = [
        ("read", "clean_a"),
        ("read", "clean_b"),
        ("clean_a", "join"),
        ("clean_b", "join"),
        ("join", "save"),
    ]
    assert body(tree("p", [], edges, width=16)) == [
        "read",
        "├─▶ clean_b",
        "│   ▼ join (below)",
        "▼ clean_a",
        "▼ join",
        "▼ save",
    ]


def test_width_is_kept():
    """No line of a drawn picture is wider than asked, unless it is an outline already."""
    for seed in range(40):
        nodes, edges = random_graph(seed)
        picture = draw("p", nodes, edges, width=50)
        assert decode(picture) == (set(nodes), set(edges))
        assert max(len(line) for line in body(picture)) <= 50


def test_ascii_has_only_ascii():
    """With ascii=True nothing else is printed, even where a name holds other characters."""
    for seed in range(60):
        nodes, edges = random_graph(seed)
        edges.append((nodes[0], "é"))
        assert draw("café\n", nodes, edges, ascii=True).isascii()
        assert tree("café\n", nodes, edges, ascii=True).isascii()


@pytest.mark.slow
@pytest.mark.parametrize("ascii_only", [False, True])
def test_1000_pictures_decode_to_their_graphs(ascii_only):
    """The pictures of 1,000 random graphs, read by their characters alone, give back the same edges."""
    with_boxes = with_bridges = 0
    for seed in range(1000):
        nodes, edges = random_graph(seed)
        picture = draw("p", nodes, edges, ascii=ascii_only)
        assert decode(picture) == (set(nodes), set(edges)), picture
        with_boxes += ("+-" if ascii_only else "╭─") in picture
        with_bridges += (")" if ascii_only else "─│─") in picture
    assert with_boxes > 650, "most random graphs are drawn as boxes"
    assert with_bridges > 150, "many of them have crossings"


@pytest.mark.parametrize("ascii_only", [False, True])
def test_trees_decode_to_their_graphs(ascii_only):
    """The outlines of random graphs, narrow ones too, give back the same edges."""
    for seed in range(300):
        nodes, edges = random_graph(seed)
        for width in (None, 12):
            picture = tree("p", nodes, edges, ascii=ascii_only, width=width)
            assert decode(picture) == (set(nodes), set(edges)), picture


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.slow
def test_decoder_notices_a_changed_picture(ascii_only):
    """Taking away an arrow head or a corner, or joining a bridge, never leaves a picture of the same edges."""
    pieces = r"(?<!\w)v(?!\w)|>|'|\)" if ascii_only else r"▼|▶|┘|└|(?<=─)│(?=─)"
    changes = 0
    for seed in range(100):
        nodes, edges = random_graph(seed)
        picture = draw("p", nodes, edges, ascii=ascii_only)
        picture = picture.replace("(above)", "ABOVE")  # which has no bridge
        for piece in re.finditer(pieces, picture):
            other = {")": "+", "│": "┼"}.get(piece.group(), " ")
            changed = picture[: piece.start()] + other + picture[piece.end() :]
            changes += 1
            try:
                found = decode(changed.replace("ABOVE", "(above)"))
            except (Unreadable, AssertionError):
                continue
            assert found != (set(nodes), set(edges)), changed
    assert changes > 1000


def test_large_graphs_are_fast_outlines():
    """A graph of 10,000 nodes is an outline within a second, and stays narrow."""
    rng = random.Random(1)
    nodes = [f"n{i}" for i in range(10_000)]
    edges = sorted({(nodes[rng.randrange(i)], nodes[i]) for i in range(1, 10_000) for _ in range(2)})
    began = time.process_time()
    picture = draw("p", nodes, edges, width=120)
    assert time.process_time() - began < 1
    assert decode(picture) == (set(nodes), set(edges))
    assert max(map(len, body(picture))) <= 120


@pytest.mark.slow
def test_deep_graphs_need_no_recursion():
    """A chain of 100,000 nodes, and one with a side branch at each node, are outlines of narrow lines."""
    nodes = [f"n{i}" for i in range(100_000)]
    chain = list(pairwise(nodes))
    picture = draw("p", nodes, chain)
    assert body(picture)[:2] == ["n0", "▼ n1"]
    assert decode(picture) == (set(nodes), set(chain))
    comb = [edge for a, b in chain[:5000] for edge in ((a, b), (a, a + "/log"))]
    picture = tree("p", [], comb)
    assert decode(picture)[1] == set(comb)
    assert max(map(len, body(picture))) < 20


def test_hostile_ids_are_quoted():
    """An id that looks like a picture is quoted, and control characters are shown by their escapes."""
    picture = draw("a\nb\x1b[2J", ["x] ──▶ [y", 'q"\n'], [])
    assert picture == 'Pipeline: a\\nb\\x1b[2J\n["x] ──▶ [y"]\n["q\\"\\n"]'


def test_mermaid():
    """Mermaid output numbers the nodes and codes whatever is not a letter, a digit or harmless."""
    text = mermaid('say "hi"\n', ["pre/reader", 'end"]<b>#\n'], [("pre/reader", 'end"]<b>#\n')] * 2)
    assert text.split("\n") == [
        "---",
        'title: "say \\"hi\\"\\\\n"',
        "---",
        "flowchart LR",
        '    n0["pre/reader"]',
        '    n1["end#34;#93;#60;b#62;#35;#92;n"]',
        "    n0 --> n1",
    ]


def test_dot():
    """DOT output quotes every id, and labels those in which Graphviz would read an escape."""
    text = dot('say "hi"\n', ["pre/reader", 'a"\\N&lt;'], [("pre/reader", 'a"\\N&lt;')] * 2)
    assert text.split("\n") == [
        'digraph "say \\"hi\\"\\n" {',
        "    rankdir=LR;",
        '    label="say \\"hi\\"\\\\n";',
        "    node [shape=box];",
        '    "pre/reader";',
        '    "a\\"\\\\N&lt;" [label="a\\"\\\\N&amp;lt;"];',
        '    "pre/reader" -> "a\\"\\\\N&lt;";',
        "}",
    ]
