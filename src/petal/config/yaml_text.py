"""Read YAML 1.2's core schema safely: PyYAML's nodes, our own scalars, tags, merges and limits.

PyYAML's constructors follow YAML 1.1 (``no`` is false, ``017`` is 15), keep the last of two equal keys
and expand aliases without end; so only its scanner, parser and composer are used. See
https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from petal.config.source import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    SURROGATE,
    Parsed,
    Place,
    Refused,
    Source,
    shown,
)

if TYPE_CHECKING:
    from petal.spec.diagnostic import Diagnostic

_PREFIX: Final = "tag:yaml.org,2002:"
_MERGE: Final = _PREFIX + "merge"
_STR: Final = _PREFIX + "str"
_CONTAINERS: Final[dict[type[Node], str]] = {SequenceNode: _PREFIX + "seq", MappingNode: _PREFIX + "map"}
_SCALARS: Final = frozenset({"str", "int", "float", "bool", "null"})

_PLAIN: Final = re.compile(
    r"""(?P<null>~|null|Null|NULL|)
    |(?P<bool>true|True|TRUE|false|False|FALSE)
    |(?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)
    |(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
              |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))""",
    re.VERBOSE,
)
_TYPED_START: Final = frozenset("~nNtTfF+-.0123456789")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: A part of PyYAML's or libyaml's message, and the remedy.
_HINTS: Final = (
    ("cannot start any token", "put the text in quotes"),
    ("mapping values are not allowed", "put text that holds ': ' in quotes, or check the indentation"),
    (
        "undefined alias",
        "define the anchor (&name) before its alias, or put text that starts with * in quotes",
    ),
    ("duplicate anchor", "give the second anchor another name"),
    ("expected <block end>", "check the indentation of this line and of those above it"),
    ("alphabetic or numeric character", "put text that starts with * or & in quotes"),
    ("did not find expected", "check the indentation, and that brackets and quotes are closed"),
    ("could not find expected ':'", "put a ':' after the key, or check the indentation"),
    ("end of stream", "close the quote or bracket"),
    ("expected ',' or", "put a comma between the values, or close the bracket"),
)


class _TooDeep(Exception):
    """The composer met a value inside too many others."""

    def __init__(self, node: Node) -> None:
        self.offset = node.start_mark.index


class _TooMany(Exception):
    """The composer met too many values."""


class _Core:
    """The composer's hooks: YAML 1.2's types, and limits while the nodes are still being read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)  # type: ignore[call-arg]
        self._depth = 0
        self._count = 0

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        self._depth += 1
        if parent is not None and self._depth > MAX_DEPTH + 1:
            raise _TooDeep(parent)
        if index is not None:  # a key has no index
            self._count += 1
            if self._count > MAX_VALUES:
                raise _TooMany

    def ascend_resolver(self) -> None:
        self._depth -= 1

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        if kind is not ScalarNode:
            return _CONTAINERS[kind]
        if not implicit[0]:
            return _STR
        return _MERGE if value == "<<" else _PREFIX + _kind_of(value)


class PureComposer(_Core, yaml.SafeLoader):
    """Composes nodes in Python."""


Composer: type[_Core] = PureComposer
if hasattr(yaml, "CSafeLoader"):

    class FastComposer(_Core, yaml.CSafeLoader):
        """Composes nodes with libyaml."""

    Composer = FastComposer


def read_yaml(source: Source, *, composer: type[_Core] | None = None) -> Parsed:
    """Parse YAML text.

    Args:
        source: The file.
        composer: Composes the nodes; libyaml's where there is one.

    Raises:
        Refused: With the one finding after which nothing more can be found.
    """
    root = _compose(source, composer or Composer)
    if root is None:
        return Parsed(None, [], lambda: Place(0))
    builder = _Builder(source)
    try:
        built = builder.build(root, 0, 0)
    except Refused as refusal:
        return Parsed(None, [*builder.findings, refusal.finding], lambda: Place(0))
    return Parsed(built.data, builder.findings, lambda: built.place)


def _compose(source: Source, composer: type[_Core]) -> Node | None:
    """Return the root node, or None for an empty document."""
    bad = _UNPRINTABLE.search(source.text)
    if bad:
        message = f"malformed YAML: the character U+{ord(bad[0]):04X} is not allowed"
        hint = f'write it as "\\u{ord(bad[0]):04x}" in double quotes'
        raise Refused(source.finding("syntax", message, bad.start(), hint))
    loader: Any = composer(source.text)
    try:
        node: Node | None = loader.get_single_node()
    except _TooDeep as error:
        raise Refused(source.too_deep(error.offset)) from None
    except _TooMany:
        raise Refused(source.too_many(0)) from None
    except yaml.MarkedYAMLError as error:
        raise Refused(_syntax_error(source, error)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the Python scanner on "\Uffffffff"
        offset = loader.get_mark().index if hasattr(loader, "get_mark") else 0
        raise Refused(source.finding("syntax", f"malformed YAML: {error}", offset)) from None
    finally:
        loader.dispose()
    return node


def _syntax_error(source: Source, error: yaml.MarkedYAMLError) -> Diagnostic:
    """Return the finding for the place where the parser stopped."""
    mark = error.problem_mark or error.context_mark
    offset = mark.index if mark is not None else 0
    problem = error.problem or "cannot be read"
    if problem == "but found another document":
        message = "the file holds more than one YAML document"
        return source.finding("syntax", message, offset, "keep one, and remove the '---' between them")
    hint = next((hint for part, hint in _HINTS if part in problem), None)
    if source.text[offset : offset + 1] == "\t":
        hint = "indent with spaces; YAML allows no tab here"
    context = f" ({error.context})" if error.context else ""
    return source.finding("syntax", f"malformed YAML: {problem}{context}", offset, hint)


def _kind_of(text: str) -> str:
    """Return the core schema's type of a plain scalar."""
    if text and text[0] not in _TYPED_START:
        return "str"
    match = _PLAIN.fullmatch(text)
    return (match and match.lastgroup) or "str"


class _Built(NamedTuple):
    """A node's data with what it costs: its values and the containers in one another, itself included."""

    data: Any
    place: Place
    values: int = 1
    depth: int = 0


class _Builder:
    """Turns nodes into data; every node once, so that nested aliases cost nothing until they are refused."""

    def __init__(self, source: Source) -> None:
        self.findings: list[Diagnostic] = []
        self._source = source
        self._done: dict[int, _Built] = {}
        self._open: set[int] = set()
        self._values = 0

    def build(self, node: Node, used_at: int, level: int) -> _Built:
        """Return a node's data.

        Args:
            node: Lives as long as the builder, which knows it by its identity.
            used_at: Where the value is used: there an alias is reported.
            level: How many containers are around it.
        """
        known = self._done.get(id(node))
        if known is not None:
            self._spend(known.values, used_at)
            if level + known.depth > MAX_DEPTH:
                raise Refused(self._source.too_deep(used_at))
            return known._replace(data=_copy(known.data))
        before = self._values
        self._spend(1, used_at)
        if isinstance(node, ScalarNode):
            built = _Built(self._scalar(node), Place(node.start_mark.index))
        else:
            built = self._container(node, used_at, level)._replace(values=self._values - before)
        self._done[id(node)] = built
        return built

    def _spend(self, values: int, at: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            hint = "its aliases multiply to that many; write fewer of them"
            raise Refused(self._source.too_many(at, hint))

    def _find(self, code: str, message: str, node: Node, hint: str) -> None:
        self.findings.append(self._source.finding(code, message, node.start_mark.index, hint))

    def _container(self, node: Node, used_at: int, level: int) -> _Built:
        if id(node) in self._open:
            message = "an alias stands inside the value that it stands for"
            raise Refused(self._source.finding("too-large", message, used_at, "write the value out"))
        if level >= MAX_DEPTH:
            raise Refused(self._source.too_deep(node.start_mark.index))
        self._check_tag(node, node.tag == _CONTAINERS[type(node)])
        self._open.add(id(node))
        build = self._sequence if isinstance(node, SequenceNode) else self._mapping
        built = build(node, level)
        self._open.remove(id(node))
        return built

    def _sequence(self, node: Node, level: int) -> _Built:
        data: list[Any] = []
        children: dict[str | int, tuple[int, Place]] = {}
        depth = 0
        for index, item in enumerate(node.value):
            built = self.build(item, node.start_mark.index, level + 1)
            data.append(built.data)
            children[index] = (built.place.offset, built.place)
            depth = max(depth, built.depth)
        return _Built(data, Place(node.start_mark.index, children), depth=depth + 1)

    def _mapping(self, node: Node, level: int) -> _Built:
        data: dict[str, Any] = {}
        children: dict[str | int, tuple[int, Place]] = {}
        seen: dict[str, int] = {}
        merged: list[_Built] = []
        depth = 0
        for key, value in node.value:
            at = key.start_mark.index
            built = self.build(value, at, level + 1)
            depth = max(depth, built.depth)
            name = self._key(key)
            if name is None:
                continue
            if name in seen:
                self.findings.append(self._source.duplicate(name, seen[name], at))
                continue
            seen[name] = at
            if key.tag == _MERGE:
                merged += self._merged(built, value)
                continue
            data[name] = built.data
            children[name] = (at, built.place)
        for built in merged:
            for name, value in built.data.items():
                if name not in data:
                    data[name] = value
                    children[name] = (built.place.children or {})[name]
        return _Built(data, Place(node.start_mark.index, children), depth=depth + 1)

    def _key(self, node: Node) -> str | None:
        """Return a key as it is written, or None when it cannot be one."""
        if isinstance(node, ScalarNode):
            self._check_scalar(node)
            return str(node.value)
        self._find("bad-key", "a mapping's key must be text, not a list or a mapping", node, "quote the key")
        return None

    def _merged(self, built: _Built, node: Node) -> list[_Built]:
        """Return the mappings that a ``<<`` merges, the strongest first."""
        if isinstance(built.data, dict):
            return [built]
        if isinstance(built.data, list) and all(isinstance(item, dict) for item in built.data):
            places = [place for _, place in (built.place.children or {}).values()]
            return [_Built(item, place) for item, place in zip(built.data, places, strict=True)]
        message = "'<<' merges a mapping or a list of mappings"
        self._find("syntax", message, node, "put '<<' in quotes if it is meant as a key")
        return []

    def _check_tag(self, node: Node, known: bool) -> None:
        if not known:
            tag = str(node.tag).replace(_PREFIX, "!!")
            hint = "remove the tag; Petal reads text, numbers, lists and mappings only"
            self._find("unsafe-tag", f"the tag {shown(tag)} is not allowed here", node, hint)

    def _scalar(self, node: ScalarNode) -> Any:
        """Return a scalar's value."""
        kind = self._check_scalar(node)
        return node.value if kind == "str" else self._typed(node, kind)

    def _check_scalar(self, node: ScalarNode) -> str:
        """Report what no scalar and no key may be, and return the type."""
        if not node.value.isascii() and SURROGATE.search(node.value):
            self.findings.append(self._source.lone_surrogate(node.start_mark.index))
        if node.tag in (_STR, _MERGE):  # outside of a key, "<<" is text
            return "str"
        kind = str(node.tag).removeprefix(_PREFIX)
        self._check_tag(node, kind in _SCALARS)
        return kind if kind in _SCALARS else "str"

    def _typed(self, node: ScalarNode, kind: str) -> Any:
        """Return the value of a scalar that is not text."""
        text = node.value
        written = _kind_of(text)
        if written != kind and (written, kind) != ("int", "float"):
            self._find(
                "syntax", f"{shown(text)} is not of the type !!{kind}", node, "change the value or the tag"
            )
            return None
        if kind == "null":
            return None
        if kind == "bool":
            return text in ("true", "True", "TRUE")
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if len(text) > MAX_DIGITS:
            self.findings.append(self._source.too_long(node.start_mark.index))
            return 0
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _copy(data: Any) -> Any:
    """Return data that shares no container with the original."""
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_copy(item) for item in data]
    return data
