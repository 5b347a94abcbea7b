"""Every code a finding can have, with what it means and what to do: the source of the reference's table."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from petal.spec.diagnostic import Severity


class Code(Struct, frozen=True):
    """What is known of a code.

    Attributes:
        severity: How bad a finding of this code is.
        summary: What is wrong, in a few words.
        why: Why that is a mistake.
        remedy: What to do about it.
    """

    severity: Severity
    summary: str
    why: str
    remedy: str


def _error(summary: str, why: str, remedy: str) -> Code:
    return Code(Severity.ERROR, summary, why, remedy)


#: The text of a file (``config/syntax.py``).
_TEXT: Final = {
    "syntax": _error(
        "The file is not well-formed YAML, JSON or TOML.",
        "Nothing after the marked place can be understood.",
        "Correct the marked line; the cause is often the line above it.",
    ),
    "encoding": _error(
        "The file is not UTF-8 text.",
        "Pipeline files are UTF-8 in every format, so that they mean the same on every machine.",
        "Save the file as UTF-8.",
    ),
    "too-large": _error(
        "The file, a value in it, or what its aliases expand to, is larger or deeper than a pipeline needs.",
        "The limits keep a hostile or generated file from using up memory.",
        "Split the pipeline into modules, and keep data in data files.",
    ),
    "duplicate-key": _error(
        "A key is written twice in one mapping.",
        "Only one of the two values could hold, and most parsers drop the other one silently.",
        "Remove or rename one of the two; the message names both places.",
    ),
    "unsafe-tag": _error(
        "The file uses a YAML tag that is not allowed.",
        "Tags can make a loader build arbitrary objects; a pipeline file holds plain data only.",
        "Remove the tag and write the value as text, number, list or mapping.",
    ),
    "bad-key": _error(
        "The key of a mapping is not text.",
        "Keys are names, and JSON and TOML can write no other kind.",
        "Put the key in quotes.",
    ),
}

#: The shape of a pipeline (``config/decode.py``).
_SHAPE: Final = {
    "empty-pipeline": _error(
        "The pipeline has neither nodes nor modules.",
        "There is nothing that could run.",
        "Add a node under `nodes`, or a module under `modules`.",
    ),
    "unknown-key": _error(
        "A key is not one that Petal knows at this place.",
        "It would have no effect, and is most often a misspelling of one that has.",
        "Correct it to the key that the hint names, or remove it.",
    ),
    "wrong-type": _error(
        "A value is of another kind than its key takes.",
        "A list where a mapping is wanted, or text where a number is wanted, could only be guessed at.",
        "Write the kind of value that the message names.",
    ),
    "missing-key": _error(
        "A key that must be there is not.",
        "A node needs `id` and `type`, a module `id` and `path`, an execution block `backend`.",
        "Add the key.",
    ),
    "bad-value": _error(
        "A value is of the right kind but cannot be used.",
        "It is empty, or holds a reference where none is resolved.",
        "Write what the hint says.",
    ),
    "bad-id": _error(
        "An id or a name does not look like one.",
        "Ids are part of paths and of addresses such as `node.port`, so not every text fits.",
        "Rename it, and what refers to it.",
    ),
    "duplicate-id": _error(
        "Two nodes or modules have the same id.",
        "Nodes and modules share one set of names, so an edge could not say which of the two it means.",
        "Rename one of the two; the message names the first place.",
    ),
    "duplicate-name": _error(
        "A pipeline input or output is listed twice.",
        "Only one of the two could hold.",
        "Remove or rename one of the two; the message names the first place.",
    ),
    "bad-reference": _error(
        "A text that should name a node, a port or a module's output does not look like such a name.",
        "A node is named by its id, a port as `node.port`, and a module's output as `module.output`.",
        "Correct the name.",
    ),
    "bad-edge": _error(
        "An edge does not have two ends.",
        "An edge leads from one output to one input: `[from, to]` or `{from: ..., to: ...}`.",
        "Write both ends, and one edge per pair.",
    ),
    "duplicate-edge": _error(
        "The same edge is written twice.",
        "The second one adds nothing, or feeds an input a second time.",
        "Remove one of the two; the message names the first place.",
    ),
    "bad-policy": _error(
        "A policy has a value that cannot work.",
        "Attempts, sizes and durations are positive, and a policy is read before references are resolved.",
        "Write what the hint says.",
    ),
}

#: Every code with its description; codes are stable.
CODES: Final[dict[str, Code]] = {**_TEXT, **_SHAPE}
