"""Hypothesis strategies for pipeline specifications that a file of every format can carry."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from petal.spec.pipeline import MISSING, EdgeSpec, ModuleSpec, NodeSpec, PipelineSpec
from petal.spec.policy import NO_POLICIES, Batch, Cache, Effects, Execution, Policies, Retry

_RESERVED = {"backend", "target", "failover"}

#: Ids, and the names of ports, inputs and parameters (S2.4).
ids = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,11}", fullmatch=True)

#: Any text that UTF-8 can write, mixed with text that looks like something else in one of the formats.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "no",
        "null",
        "~",
        "1.0",
        "0x1f",
        "2026-01-01",
        "^ERROR",
        "a: b",
        "- a",
        "# c",
        "${params.x}",
        "$${x}",
        "'",
        '"',
        "\r\n",
        "\n a\n",
        "a\tb",
    ]
)
#: Text that says something, with no reference in it.
words = texts.filter(lambda t: bool(t.strip()) and "${" not in t)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.booleans() | numbers | texts
#: What a parameter holds in TOML too (None is not among it).
plain_data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
params = st.dictionaries(ids, plain_data, max_size=3)

durations = (
    st.integers(1, 10**6).map(float)
    | st.sampled_from([0.25, 0.001, 1.5, 5400.0])
    | st.floats(1e-9, 1e9, exclude_min=True)
)
counts = st.integers(1, 10**6)
word_tuples = st.lists(words, max_size=3).map(tuple)

_settings = params.map(lambda found: {k: v for k, v in found.items() if k not in _RESERVED})
executions = st.builds(
    Execution,
    backend=ids,
    failover=st.lists(st.builds(Execution, backend=ids, settings=_settings), max_size=2).map(tuple),
    settings=_settings,
)
retries = st.builds(
    Retry,
    max_attempts=counts,
    delay=st.just(0.0) | durations,
    backoff=st.floats(1.0, 100.0),
    max_delay=durations,
    jitter=st.booleans(),
    retry_on=word_tuples,
    abort_on=word_tuples,
)
caches = st.builds(Cache, ttl=st.none() | durations, version=st.none() | words, depends_on=word_tuples)
batches = st.builds(Batch, size=counts, in_flight=counts, ordered=st.booleans(), over=st.none() | ids)


def _optional(policy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | policy


#: Policies as decoding leaves them: ``True`` stands in no field, since a file's ``true`` means the defaults.
policies = st.just(NO_POLICIES) | st.builds(
    Policies,
    execution=_optional(executions),
    retry=_optional(st.just(False) | st.just(Retry()) | retries),
    timeout=_optional(st.just(False) | durations),
    cache=_optional(st.just(False) | st.just(Cache()) | caches),
    batch=_optional(st.just(False) | st.just(Batch()) | batches),
    effects=_optional(st.sampled_from(Effects)),
)


@st.composite
def pipeline_specs(draw: st.DrawFn, max_nodes: int = 5) -> PipelineSpec:
    """Any pipeline whose shape is right; its edges may form a cycle and its operators do not exist."""
    names = draw(st.lists(ids, min_size=1, max_size=max_nodes, unique=True))
    cut = draw(st.integers(0, len(names)))
    ends = st.sampled_from(names) | st.builds("{}.{}".format, st.sampled_from(names), ids)
    sources = st.dictionaries(ids, ends | st.lists(ends, max_size=3).map(tuple), max_size=2)
    after = st.lists(st.sampled_from(names), max_size=2, unique=True).map(tuple)
    nodes = [
        draw(
            st.builds(
                NodeSpec, st.just(n), words, params=params, inputs=sources, after=after, policies=policies
            )
        )
        for n in names[:cut]
    ]
    modules = [
        draw(st.builds(ModuleSpec, st.just(n), words, params=params, inputs=sources, after=after))
        for n in names[cut:]
    ]
    edges = draw(st.lists(st.builds(EdgeSpec, ends, ends), max_size=5, unique=True))
    return PipelineSpec(
        name=draw(st.just("") | words),
        plugins=draw(word_tuples),
        params=draw(params),
        inputs=draw(st.dictionaries(ids, st.just(MISSING) | plain_data, max_size=3)),
        cache_io=draw(st.booleans() | st.just("s3://bucket/prefix")),
        defaults=draw(policies),
        run_timeout=draw(st.none() | durations),
        nodes=tuple(nodes),
        edges=tuple(edges),
        modules=tuple(modules),
        outputs=draw(st.dictionaries(ids, ends, max_size=2)),
    )
