"""What a run leaves in its home: a journal that begins with what was planned (DESIGN.md §6)."""

from __future__ import annotations

import os
import sys
import time
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import compress, crc32

import msgspec

from petal.app.reading import files_read
from petal.app.recorded import place_of
from petal.code.source import SOURCE_ATTRIBUTE
from petal.data.home import Home
from petal.data.journal import JournalFile, next_number
from petal.errors import JournalError
from petal.execution.options import Options, new_run_id
from petal.planning.build import Planned
from petal.planning.holding import stores
from petal.planning.moving import shown_backend
from petal.planning.request import Request
from petal.spec.event import PlannedNode, RunPlanned
from petal.spec.logs import logger
from petal.spec.plan import FromNode, Plan, PlanNode
from petal.spec.policy import Effects
from petal.spec.redaction import redact

if TYPE_CHECKING:
    from petal.data.cache import Cache
    from petal.data.codecs import Codecs
    from petal.data.shared_cache import SharedCache
    from petal.execution.remote import Opener

#: Old runs are looked for at every so manieth run.
_TIDY_EVERY = 32
#: Bytes of all files of a run beyond which their text is not recorded.
_LARGEST = 1 << 18


def kept(
    options: Options,
    planned: Planned,
    request: Request,
    file: str | None,
    home: Home,
    environment: Mapping[str, str],
    stack: ExitStack,
    shared: SharedCache | None = None,
) -> Options:
    """Return options by which a new run keeps its journal, and what it stores, in a home until the stack is closed.

    Args:
        options: How to run.
        planned: What will run.
        request: What was asked for.
        file: The pipeline's file, None for one made in Python.
        home: The home.
        environment: The environment variables.
        stack: Closes what is opened.
        shared: The cache that other machines use as well; None where there is none.
    """
    run_id = options.run_id or new_run_id()
    journal = stack.enter_context(
        recording(home, run_id, planned, request, file, options.folders, options.refresh)
    )
    cache = None
    if planned.plan is not None and stores(planned.plan):
        from petal.app.caching import open_cache

        cache = open_cache(home, environment, warn, codecs_of(options.opener), shared)
        if cache is not None:
            stack.callback(cache.close)
    return keeping(options, home, run_id, journal, cache, options.refresh)


def keeping(
    options: Options,
    home: Home,
    run_id: str,
    journal: JournalFile,
    cache: Cache | None,
    refresh: frozenset[str],
) -> Options:
    """Return options by which a run keeps its journal there, and what it stores in that cache."""
    caching = None
    if cache is not None:
        from petal.execution.cached import Caching

        caching = Caching(cache, refresh, codecs=codecs_of(options.opener))
    return msgspec.structs.replace(
        options, run_id=run_id, journal=journal, caching=caching, folder=str(home.spill)
    )


def codecs_of(opener: Opener | None) -> Codecs | None:
    """Return the codecs of plugins that take part, None where there are none."""
    found = opener.codecs() if opener is not None else ()
    if not found:
        return None
    from petal.data.codecs import Codecs

    return Codecs(found)


def warn(text: str) -> None:
    """Warn of what the cache cannot do."""
    logger("petal.node").warning("%s", text)


@contextmanager
def recording(
    home: Home,
    run_id: str,
    planned: Planned,
    request: Request,
    file: str | None,
    folders: Iterable[str],
    refresh: frozenset[str] = frozenset(),
) -> Iterator[JournalFile]:
    """Open the journal of a run, with what is planned as its first record, and close it at the end.

    Args:
        home: Where it is kept.
        run_id: The run.
        planned: What will run.
        request: What was asked for.
        file: The pipeline's file, None for one made in Python.
        folders: Folders whose Python is the pipeline's.
        refresh: Nodes whose outputs are made again, whatever is cached.

    Raises:
        EnvironmentNotReady: Nothing can be kept there (F07).
        JournalError: The journal cannot be written.
    """
    home.create()
    number = next_number(home.runs)
    journal = JournalFile(home.runs / f"{run_id}.jsonl")
    try:
        record = planned_record(run_id, number, planned, request, file, folders)
        record.request["refresh"] = sorted(refresh)
        journal.append(record, durable=True)
        yield journal
    finally:
        with suppress(JournalError):  # the engine has met it, and the run has failed of it
            journal.close()
        if number % _TIDY_EVERY == 0:
            from petal.metadata.history import History

            History(home).prune()


def planned_record(
    run_id: str,
    number: int,
    planned: Planned,
    request: Request,
    file: str | None,
    folders: Iterable[str],
    *,
    was: RunPlanned | None = None,
) -> RunPlanned:
    """Return the record of what a run is about to do; ``was`` is what it was about to do before it was stopped."""
    from petal import __version__

    plan = planned.plan
    assert plan is not None
    sources = sources_of(plan, folders, was.request.get("code", ()) if was is not None else ())
    code = {file: _digest(data) for file, data in sources.items()}
    ids = [n.id for n in plan.nodes]
    own = _digest(repr(sorted(code.items())).encode()) if code else ""
    asked = {
        "params": dict(request.params),
        "inputs": dict(request.inputs),
        "lost": [
            name for name, value in (*request.params.items(), *request.inputs.items()) if not is_plain(value)
        ],
        "text": sorted(request.text),
        "targets": list(request.targets),
        "backends": dict(request.backends),
        "overrides": sorted(request.overrides),
        "folder": request.folder,
        "code": code,
        "sources": packed(sources),
    }
    return RunPlanned(
        run_id,
        time.time(),
        number,
        plan.name,
        place_of(file),
        os.getcwd(),
        asked,
        _nodes(plan, ids, dict.fromkeys(_own_files(plan, code), own), f"petal {__version__}"),
        __version__,
        sys.version.partition(" ")[0],
        os.getpid(),
        os.uname().nodename,
        was is not None,
    )


def _nodes(plan: Plan, ids: list[str], own: Mapping[str, str], version: str) -> tuple[PlannedNode, ...]:
    """Describe the nodes; ``own`` has a digest for each file of the user's Python, by its name in operators."""
    found = []
    operators, moved, reads = plan.operators, bool(plan.moved), files_read(plan)
    is_simple = not moved and not reads
    known, plain, effects, code = None, True, Effects.PURE, version
    for i, node in enumerate(plan.nodes):
        policies, inputs = node.policies, node.inputs
        if policies is not known:  # most nodes share theirs
            known = policies
            plain = policies is None or not policies.origins
            effects = policies.effects if policies is not None else Effects.PURE
        fed = [
            ids[b.node] if b.port == "output" else _name(ids, b)
            for b in inputs.values()
            if type(b) is FromNode
        ]
        said = node.params or not plain
        if len(fed) < len(inputs):
            said, fed = True, _fed(ids, inputs.values())
        if own:
            code = own.get(operators[node.operator].file, version)
        if is_simple and not said and not node.after:
            found.append(PlannedNode(ids[i], node.operator, "local", (), tuple(fed), effects, code))
            continue
        found.append(
            PlannedNode(
                ids[i],
                node.operator,
                "local" if plain and not moved else shown_backend(plan, i),
                tuple([ids[k] for k in node.after]),
                tuple(fed),
                effects,
                code,
                _config(node) if said else None,
                reads.get(i),
            )
        )
    return tuple(found)


def _fed(ids: list[str], bindings: Iterable[Any]) -> list[str]:
    """Name the nodes that inputs come from, of which some take several and some a constant."""
    each = (one for b in bindings for one in (b if type(b) is tuple else (b,)))
    return [_name(ids, one) for one in each if type(one) is FromNode]


def _name(ids: list[str], feed: FromNode) -> str:
    return ids[feed.node] if feed.port == "output" else f"{ids[feed.node]}.{feed.port}"


def is_plain(value: Any) -> bool:
    """Whether a value that was asked for is read back from a journal as it was."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) for k in value) and all(map(is_plain, value.values()))
    if isinstance(value, str):
        return redact(value) == value and _is_unicode(value)
    return value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 1 << 63)


def _is_unicode(text: str) -> bool:
    """Whether text can be written as UTF-8: a command line and files give half characters for bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _own_files(plan: Plan, code: Mapping[str, str]) -> list[str]:
    """Return the names by which operators call the files of ``code``."""
    names = {spec.file for spec in plan.operators.values()} - {""}
    return [name for name in names if str(Path(name).absolute()) in code]


def _config(node: PlanNode) -> str | None:
    """Return a digest of a node's parameters and of how it is run; None where nothing was said about either."""
    policies = node.policies
    said = policies is not None and bool(policies.origins)
    constants = {n: b for n, b in node.inputs.items() if "Constant" in type(b).__name__}
    if not node.params and not said and not constants:
        return None
    what = (node.params, constants, policies if said else None)
    try:
        text = msgspec.json.encode(what, enc_hook=_text, order="deterministic")
    except UnicodeEncodeError:  # a byte that is no UTF-8, as it comes from a command line
        plain = msgspec.to_builtins(what, enc_hook=_text, order="deterministic")
        text = repr(plain).encode(errors="surrogatepass")
    return f"{crc32(text):08x}-{len(text)}"  # hashlib, with OpenSSL, would take 3 ms of every run


def _digest(data: bytes) -> str:
    from hashlib import sha256  # 3 ms that a run without own code does without

    return sha256(data).hexdigest()[:16]


def _text(value: Any) -> str:
    """Write a value that JSON has no form for: its type alone where its text would hold an address in memory."""
    if isinstance(value, os.PathLike):
        return os.path.normpath(Path(value).absolute())  # the same wherever the run is started
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def packed(sources: Mapping[str, bytes]) -> dict[str, str]:
    """Return the text of Python files, by path, as a journal takes it; nothing where it is large, or has a secret in it."""
    if sum(map(len, sources.values())) > _LARGEST:
        return {}
    if any(redact(text) != text for text in (data.decode(errors="replace") for data in sources.values())):
        return {}
    return {file: b2a_base64(compress(data), newline=False).decode() for file, data in sources.items()}


def own_files(plan: Plan) -> set[str]:
    """Return the files that operators are in and that are not installed, nor Petal's."""
    installed = f"{os.sep}site-packages{os.sep}"
    own = {s.file for s in plan.operators.values() if not s.ref.startswith("petal.")} - {""}
    return {file for name in own if installed not in (file := str(Path(name).absolute()))}


def sources_of(plan: Plan, folders: Iterable[str], also: Iterable[str] = ()) -> dict[str, bytes]:
    """Return the bytes of each file of the user's Python that the plan's operators come from or import.

    Args:
        plan: The plan.
        folders: Folders whose Python is the pipeline's; this process may have loaded that of others too.
        also: Further files, of which some may be gone.
    """
    sources: dict[str, bytes | None] = {file: None for file in also if os.path.isfile(file)}
    above = tuple(os.path.join(folder, "") for folder in folders)
    for module in tuple(sys.modules.values()):
        data = getattr(module, "__dict__", {}).get(SOURCE_ATTRIBUTE)
        if data is not None and (file := str(Path(module.__file__ or "").absolute())).startswith(above):
            sources[file] = data
    for file in own_files(plan):
        if os.path.isfile(file):
            sources.setdefault(file, None)
    return {file: Path(file).read_bytes() if data is None else data for file, data in sources.items()}
