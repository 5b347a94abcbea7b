"""The tables of cases: what each section measures, and which command of which peer does it."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.cases import Case, Group, Section
from tests.benchmarks.commands import PEERS, On, call, petal, python, three
from tests.benchmarks.home import Home
from tests.benchmarks.peers.cached import SMALL as CACHED
from tests.benchmarks.peers.common import PATTERNS
from tests.benchmarks.peers.shapes import LARGEST, SHAPES

#: Round trips in a row, of which one is the figure; as in `peers/pool_tasks.py`.
TRIPS = 2_000
#: Rounds of what takes seconds, tens of seconds, a minute.
SOME, FEW, ONCE = 3, 2, 1
ALL = 1_000
LIBRARY, QUOTED, AS_ANY = (
    "Petal, library operators (YAML)",
    "Prefect, lists in `quote`",
    "Dagster, lists as `Any`",
)
DEEP, SERVED = "recursion limit raised", "server running, errors logged"
PART = "128 MiB, as 1 GiB takes Prefect minutes"
IMPORTS = {
    "hamilton": ("Hamilton", "hamilton.driver"),
    "kedro": ("Kedro", "kedro.io, kedro.pipeline, kedro.runner"),
    "luigi": ("Luigi", "luigi"),
    "pipefunc": ("pipefunc", "pipefunc"),
    "dask": ("Dask", "dask, dask.delayed"),
    "joblib": ("joblib", "joblib"),
    "redun": ("redun", "redun"),
    "dagster": ("Dagster", "dagster"),
    "prefect": ("Prefect", "prefect"),
}
DATA_IMPORTS = {"polars": "Polars", "duckdb": "DuckDB", "orjson": "orjson", "msgspec": "msgspec"}
SHAPE_TITLES = {"chain": "A chain", "fan": "A fan-out and fan-in", "layered": "Layers of 100"}


def sections(home: Home) -> dict[str, Section]:
    """Return all sections by name, in the order of the report."""
    made = [hello(home), nodes(home), filter_log(home), fanout(home), jsonl(home), tasks(home), pool(home)]
    made += [containers(home), functions(home), cache(home), memory(home)]
    return {section.key: section for section in made}


# -- cold start -----------------------------------------------------------------------------------------------------


def hello(home: Home) -> Section:
    """Measure what it takes to start."""
    text = "Whole processes, from start to end. Bytecode is there, files are in the page cache."
    groups = [
        Group("import", "Import alone", _imports(home)),
        Group("three", "A pipeline of three nodes that do next to nothing", _hello(home)),
        _small(home),
    ]
    return Section("hello", "Cold start", text, groups)


def _imports(home: Home) -> list[Case]:
    imports = [("petal", "Petal", "petal", "petal")]
    imports += [(peer, name, peer, modules) for peer, (name, modules) in IMPORTS.items()]
    imports += [(module, name, "data", module) for module, name in DATA_IMPORTS.items()]
    imports.append(("python", "Python, nothing imported", "python", "sys"))
    return [
        Case(key, name, (python(home, peer), "-c", f"import {modules}"), checked=False)
        for key, name, peer, modules in imports
    ]


def _hello(home: Home) -> list[Case]:
    note = "EmptySource, NoOpTransformer, NoOpSink"
    return [
        Case("petal", "Petal, `petal run hello.yaml`", petal(home, "hello.yaml"), checked=False, note=note),
        call(home, "petal-python", "Petal, three functions", "petal", "hello"),
        call(home, "python", "Python, three calls", "python", "hello"),
        call(home, "hamilton", "Hamilton", "hamilton", "hello"),
        call(home, "kedro", "Kedro", "kedro", "hello"),
        call(home, "luigi", "Luigi", "luigi", "hello"),
        call(home, "pipefunc", "pipefunc", "pipefunc", "hello"),
        call(home, "dask", "Dask, delayed", "dask", "hello"),
        call(home, "distributed", "Dask, local cluster", "dask", "hello_distributed", rounds=SOME),
        call(home, "joblib", "joblib, a stage each", "joblib", "hello"),
        call(home, "redun", "redun", "redun", "hello"),
        call(home, "dagster", "Dagster, job in process", "dagster", "hello", rounds=SOME),
        call(home, "dagster-assets", "Dagster, assets", "dagster", "hello_assets", rounds=SOME),
        call(home, "prefect", "Prefect", "prefect", "hello", rounds=FEW, note="starts a server of its own"),
        call(
            home,
            "prefect-server",
            "Prefect, with server",
            "prefect",
            "hello",
            rounds=FEW,
            note=SERVED,
            server=True,
        ),
    ]


def _small(home: Home) -> Group:
    on = On(home, "small.txt", "hello")
    cases = [
        on.petal("petal", "Petal, `petal run filter.yaml`", "filter.yaml"),
        on.grep(PATTERNS[0]),
        on.peer("python-match", "Python, loop", "python", "filter_match"),
        on.peer("polars", "Polars", "data", "filter_polars"),
        on.peer("duckdb", "DuckDB", "data", "filter_duckdb"),
        on.peer("hamilton", "Hamilton", "hamilton", "filter_streams"),
        on.peer("kedro", "Kedro", "kedro", "filter_lists"),
        on.peer("luigi", "Luigi", "luigi", "filter_task"),
        on.peer("pipefunc", "pipefunc", "pipefunc", "filter_lists"),
        on.peer("redun", "redun", "redun", "filter_task"),
        on.peer("dagster", "Dagster", "dagster", "filter_lists", rounds=SOME),
        on.peer("prefect", "Prefect", "prefect", "filter_lists", rounds=FEW, note=SERVED, server=True),
    ]
    return on.group("small", "Read, filter, write 10 kB", cases)


# -- overhead per node ----------------------------------------------------------------------------------------------


def nodes(home: Home) -> Section:
    """Measure what a node costs."""
    text = (
        "Time to build and run a graph of trivial functions, for each node, inside the process; imports and the "
        "definition of the functions do not count. Petal: `Pipeline.of(*functions).run()`; with a journal: the same with "
        "`home=` and a listener to all events."
    )
    groups = [_shape(home, shape) for shape in [*SHAPES, *LARGEST]]
    recorded = "What journal and events add to each of 10,000 nodes, layered; pairs of runs in one process"
    case = call(home, "petal", "Petal", "petal", "recorded", "layered_10000")
    groups.append(Group("recorded", recorded, [case], unit="µs", inside=True, nodes=10_000))
    return Section("nodes", "Overhead per node", text, groups)


def _shape(home: Home, shape: str) -> Group:
    kind, _, digits = shape.partition("_")
    size = int(digits)
    rounds = SOME if shape in LARGEST else ALL
    cases = [
        call(home, "petal", "Petal", "petal", "nodes", shape, rounds=rounds),
        call(home, "petal-kept", "Petal, journal and events", "petal", "nodes_kept", shape, rounds=rounds),
        call(home, "python", "Python, calls in order", "python", "nodes", shape, rounds=rounds),
    ]
    if shape not in LARGEST:
        cases += _quick(home, shape)
        cases += _thousand(home, kind, shape) if size == 1_000 else _too_slow()
    if kind == "fan":
        cases.append(call(home, "joblib", "joblib, a stage each", "joblib", "nodes", shape))
    title = f"{SHAPE_TITLES[kind]} of {size:,} nodes"
    return Group(shape, title, cases, unit="µs", inside=True, nodes=size)


def _quick(home: Home, shape: str) -> list[Case]:
    """Make the cases that are quick enough for 10,000 nodes, though not in every shape."""
    dask = {"layered_10000": ONCE, "chain_10000": ONCE, "fan_10000": ONCE}.get(shape, SOME)
    hamilton = {"fan_10000": ONCE}.get(shape, ALL)
    return [
        call(home, "python-sorted", "Python, `inspect` and `graphlib`", "python", "nodes_sorted", shape),
        call(home, "hamilton", "Hamilton", "hamilton", "nodes_deep", shape, rounds=hamilton, note=DEEP),
        call(home, "dask", "Dask, delayed", "dask", "nodes", shape, rounds=dask),
    ]


def _thousand(home: Home, kind: str, shape: str) -> list[Case]:
    cases = [
        call(home, "kedro", "Kedro", "kedro", "nodes", shape, rounds=FEW),
        call(home, "luigi", "Luigi", "luigi", "nodes", shape, rounds=FEW),
        call(home, "redun", "redun", "redun", "nodes_deep", shape, rounds=ONCE, note=DEEP),
        call(home, "dagster", "Dagster", "dagster", "nodes", shape, rounds=ONCE),
        call(home, "prefect", "Prefect", "prefect", "nodes", shape, rounds=ONCE, server=True, note=SERVED),
    ]
    if kind == "chain":
        cases.append(call(home, "hamilton-default", "Hamilton, as it comes", "hamilton", "nodes", shape))
        cases.append(call(home, "redun-default", "redun, as it comes", "redun", "nodes", shape))
    if kind == "fan":
        cases.append(Case("pipefunc", "pipefunc", note="not run in this shape; see layers"))
    else:
        cases.append(
            call(home, "pipefunc", "pipefunc", "pipefunc", "nodes_deep", shape, rounds=ONCE, note=DEEP)
        )
        if kind == "chain":
            cases.append(call(home, "pipefunc-default", "pipefunc, as it comes", "pipefunc", "nodes", shape))
    return cases


def _too_slow() -> list[Case]:
    left = {"kedro": "Kedro", "luigi": "Luigi", "redun": "redun", "dagster": "Dagster", "prefect": "Prefect"}
    left["pipefunc"] = "pipefunc"
    note = "not run: a minute or more at this size; see 1,000 nodes"
    return [Case(key, name, note=note) for key, name in left.items()]


# -- files ----------------------------------------------------------------------------------------------------------


def filter_log(home: Home) -> Section:
    """Measure one filter."""
    on = On(home, "log-1024.txt", "filter")
    cases = [
        on.petal("petal", LIBRARY, "filter.yaml"),
        on.petal("petal-function", "Petal, filter a function of `str`", "filter_function.yaml"),
        on.grep(PATTERNS[0]),
        on.tool("rg", "ripgrep", "rg", "-N", "--no-config", PATTERNS[0], note="memory is the file, mapped"),
        on.tool("mawk", "mawk", "mawk", f"/{PATTERNS[0]}/"),
        on.peer("polars", "Polars, lazy scan of lines", "data", "filter_polars"),
        on.peer("polars-csv", "Polars, lazy scan of CSV", "data", "filter_polars_csv"),
        on.peer("duckdb", "DuckDB", "data", "filter_duckdb"),
        on.peer("pyarrow", "PyArrow", "data", "filter_pyarrow"),
        on.peer("python-bytes", "Python, `writelines(filter(rx.search, f))`", "python", "filter_bytes"),
        on.peer("python-match", "Python, loop over `str`, `rx.match`", "python", "filter_match"),
        on.peer("python-startswith", "Python, loop over `str`, `startswith`", "python", "filter_startswith"),
        on.peer("hamilton", "Hamilton, generators", "hamilton", "filter_streams"),
        on.peer("hamilton-lists", "Hamilton, lists", "hamilton", "filter_lists", rounds=SOME),
        on.peer("kedro", "Kedro, three nodes", "kedro", "filter_lists", rounds=SOME, note="copy_mode=assign"),
        on.peer("kedro-datasets", "Kedro, TextDataset", "kedro", "filter_datasets", rounds=FEW),
        on.peer("pipefunc", "pipefunc, lists", "pipefunc", "filter_lists", rounds=SOME),
        on.peer("luigi", "Luigi, one task", "luigi", "filter_task", rounds=FEW),
        on.peer("redun", "redun, one task", "redun", "filter_task", rounds=FEW),
        on.peer("dask", "Dask, bag in processes", "dask", "filter_bag", rounds=FEW),
        on.peer("dagster", AS_ANY, "dagster", "filter_lists", rounds=FEW),
    ]
    part = On(home, "log-128.txt", "filter-part")
    cases_of_part = [
        part.petal("petal", LIBRARY, "filter.yaml"),
        part.peer("prefect", QUOTED, "prefect", "filter_lists", rounds=FEW, note=SERVED, server=True),
    ]
    text = "Read a log, keep the lines that match `^ERROR` (10 %), write them. The log is in the page cache."
    groups = [on.group("log", "1 GiB", cases), part.group("part", PART, cases_of_part)]
    return Section("filter", "Filter a log", text, groups, more=2)


def fanout(home: Home) -> Section:
    """Measure three filters and files."""
    on = On(home, "log-1024.txt", "fanout")
    greps = "; ".join(f"grep '{p}' {on.source} > {on.target('grep')}.{i}" for i, p in enumerate(PATTERNS, 1))
    awk = " ".join(f'/{p}/ {{ print > "{on.target("mawk")}.{i}" }}' for i, p in enumerate(PATTERNS, 1))
    cases = [
        on.petal("petal", LIBRARY, "fanout.yaml"),
        on.shell("grep", "grep, three times", greps, environment=(("LC_ALL", "C"),)),
        on.shell("mawk", "mawk, once", f"exec mawk '{awk}' {on.source}"),
        on.peer("polars", "Polars, one query", "data", "fanout_polars"),
        on.peer("duckdb", "DuckDB, reads three times", "data", "fanout_duckdb"),
        on.peer("duckdb-once", "DuckDB, temporary table", "data", "fanout_duckdb_once"),
        on.peer("python", "Python, loop over `str`", "python", "fanout", rounds=SOME),
        on.peer("hamilton", "Hamilton, lists", "hamilton", "fanout", rounds=FEW),
        on.peer("kedro", "Kedro", "kedro", "fanout", rounds=FEW, note="copy_mode=assign"),
        on.peer("pipefunc", "pipefunc, lists", "pipefunc", "fanout", rounds=FEW),
        on.peer("dagster", AS_ANY, "dagster", "fanout", rounds=FEW),
    ]
    part = On(home, "log-128.txt", "fanout-part")
    cases_of_part = [
        part.petal("petal", LIBRARY, "fanout.yaml"),
        part.peer("prefect", QUOTED, "prefect", "fanout", rounds=FEW, note=SERVED, server=True),
    ]
    single = On(home, "log-1024.txt", "fanout-single").petal("petal", LIBRARY, "filter.yaml")
    text = "Read a log once, apply three filters (`^ERROR`, `^WARN`, `user=42[0-9]`), write three files."
    groups = [
        on.group("log", "Three filters, 1 GiB", three(cases)),
        part.group("part", f"Three filters, {PART}", three(cases_of_part)),
        on.group("single", "The first filter alone, in the same rounds, 1 GiB", [single]),
    ]
    return Section("fanout", "Three filters, three files", text, groups)


def jsonl(home: Home) -> Section:
    """Measure JSON lines to CSV."""
    on = On(home, "events.jsonl", "jsonl")
    cases = [
        on.petal("petal", LIBRARY, "jsonl.yaml"),
        on.peer("polars", "Polars, lazy", "data", "jsonl_polars"),
        on.peer("duckdb", "DuckDB", "data", "jsonl_duckdb"),
        on.peer("pyarrow", "PyArrow", "data", "jsonl_pyarrow"),
        on.peer("msgspec", "Python, loop with msgspec", "data", "jsonl_msgspec"),
        on.peer("orjson", "Python, loop with orjson", "data", "jsonl_loop", "orjson"),
        on.peer("json", "Python, loop with json", "data", "jsonl_loop", "json"),
        on.tool("jq", "jq", "jq", "-r", '"\\(.timestamp),\\(.level)"', rounds=SOME),
    ]
    text = "Take timestamp and level out of JSON lines of about 200 bytes and write them as CSV."
    return Section("jsonl", "JSON lines to CSV", text, [on.group("events", "512 MiB", cases)])


# -- tasks and memory -----------------------------------------------------------------------------------------------


def tasks(home: Home) -> Section:
    """Measure tasks that wait, and tasks that compute."""
    waits = [
        call(home, "petal", "Petal", "petal", "waits", note="no pool size given"),
        call(home, "python", "Python, 64 threads", "python", "waits"),
        call(home, "hamilton", "Hamilton, 64 threads", "hamilton", "waits"),
        call(home, "hamilton-default", "Hamilton, as it comes", "hamilton", "waits_default", rounds=FEW),
        call(home, "kedro", "Kedro, 64 threads", "kedro", "waits"),
        call(home, "luigi", "Luigi, 64 workers", "luigi", "waits", rounds=SOME, note="workers are processes"),
        call(home, "pipefunc", "pipefunc, 64 threads", "pipefunc", "waits"),
        call(home, "dask", "Dask, 64 threads", "dask", "waits"),
        call(home, "joblib", "joblib, 64 threads", "joblib", "waits"),
        call(home, "redun", "redun, 64 threads", "redun", "waits"),
        call(home, "dagster", "Dagster, in process", "dagster", "waits", rounds=FEW),
        call(
            home, "prefect", "Prefect, 64 threads", "prefect", "waits", rounds=FEW, note=SERVED, server=True
        ),
    ]
    burns = [
        call(home, "petal", "Petal, backend `process`", "petal", "burns", rounds=SOME),
        call(home, "python", "Python, pool of 2 processes", "python", "burns", rounds=SOME),
        call(home, "python-in-turn", "Python, one after the other", "python", "burns_in_turn", rounds=FEW),
        call(home, "hamilton", "Hamilton, 2 processes", "hamilton", "burns", rounds=FEW),
        call(home, "kedro", "Kedro, 2 processes", "kedro", "burns", rounds=FEW),
        call(home, "luigi", "Luigi, 2 workers", "luigi", "burns", rounds=FEW),
        call(home, "pipefunc", "pipefunc, its processes", "pipefunc", "burns", rounds=FEW),
        call(home, "dask", "Dask, 2 processes", "dask", "burns", rounds=FEW),
        call(home, "distributed", "Dask, local cluster of 2", "dask", "burns_distributed", rounds=FEW),
        call(home, "joblib", "joblib, 2 processes", "joblib", "burns", rounds=FEW),
        call(home, "redun", "redun, 2 processes", "redun", "burns", rounds=FEW),
        call(home, "dagster", "Dagster, 2 processes", "dagster", "burns", rounds=ONCE),
        call(
            home, "prefect", "Prefect, 2 processes", "prefect", "burns", rounds=FEW, note=SERVED, server=True
        ),
    ]
    text = "From start to result, inside the process; imports and the definition of the graph do not count."
    groups = [
        Group("waits", "64 tasks that wait 0.1 s, and their sum", waits, inside=True),
        Group("burns", "8 tasks that compute for about 0.4 s, and their sum", burns, inside=True),
    ]
    return Section("tasks", "Tasks that wait, tasks that compute", text, groups)


def pool(home: Home) -> Section:
    """Measure pools of worker processes."""

    def cases(command: str) -> list[Case]:
        script = str(PEERS / "with_pool.py")
        return [
            Case("petal", "Petal, its pool of 2", (python(home, "petal"), script, command)),
            call(home, "python", "Python, `ProcessPoolExecutor(2)`", "python", command),
            call(home, "loky", "loky, 2 workers", "loky", command),
        ]

    groups = [
        Group(
            "trips",
            f"Round trip of a small task, the median of {TRIPS:,} in turn",
            cases("trips"),
            unit="µs",
            inside=True,
        ),
        Group(
            "burns", "8 CPU-bound tasks on 2 cores, with the start of the pool", cases("burns"), inside=True
        ),
        Group("large", "100 MB to a worker and back", cases("large"), inside=True),
    ]
    text = (
        "Inside the process. Petal's workers are killable, and none lives on when its driver is killed; their "
        "output is captured."
    )
    return Section("pool", "Pools of worker processes", text, groups)


def containers(home: Home) -> Section:
    """Measure calls in containers."""
    first = [
        call(home, "petal", "Petal, `backend: docker`", "docker", "first"),
        call(
            home, "sdk", "Docker's SDK, a container that prints", "docker", "sdk", note="no message goes in"
        ),
    ]
    calls = [call(home, "petal", "Petal, `backend: docker`", "docker", "calls")]
    groups = [
        Group("first", "A pipeline of one node in a container, inside the process", first, inside=True),
        Group("calls", "Calls in turn in a warm container, the median", calls, inside=True),
    ]
    text = (
        "An operator that adds one, on a Docker Engine of this machine. Petal: the whole run, from the look at the image "
        "to the removal of the container, which has no network, no rights, and nothing that it can write but `/tmp`."
    )
    return Section(
        "containers", "Containers", text, groups, prepare=call(home, "", "", "docker", "build").command
    )


def functions(home: Home) -> Section:
    """Measure calls of functions on AWS's emulator of Lambda."""
    bare = call(home, "boto3", "boto3 alone, a function by hand", "lambda", "bare")
    calls = [
        bare,
        call(home, "petal", "Petal, an operator in Petal's handler", "lambda", "worker"),
        call(home, "json", "Petal, the function by hand (`protocol: json`)", "lambda", "plain"),
    ]
    cold = [
        call(home, "boto3", "boto3 alone, a function by hand", "lambda", "cold_bare"),
        call(home, "petal", "Petal, an operator in Petal's handler", "lambda", "cold_worker"),
    ]
    groups = [
        Group("calls", "Calls in turn, the median", calls, inside=True),
        Group("cold", "The first call, for which the function's process starts", cold, inside=True),
    ]
    text = (
        "A function that adds one, on AWS's own emulator of Lambda (one call at a time, on this machine). What a call takes "
        "on AWS has the network and the machine there in it."
    )
    return Section("lambda", "Functions on Lambda", text, groups)


def cache(home: Home) -> Section:
    """Measure what it takes to find outputs that another process has cached."""

    def cases(kind: str) -> list[Case]:
        diskcache = str(PEERS / "with_diskcache.py")
        return [
            call(home, "petal", "Petal, `cache: true`", "petal", "hits", kind),
            call(home, "joblib", "joblib, `Memory`", "joblib", "hits", kind),
            call(home, "hamilton", "Hamilton, `with_cache`", "hamilton", "hits", kind, rounds=SOME),
            Case(
                "diskcache",
                "diskcache, `memoize`",
                (python(home, "petal"), diskcache, "hits", kind),
                note="no digest, unpickles",
            ),
        ]

    small = Group(
        "small", f"{CACHED} outputs of 100 bytes", cases("small"), unit="µs", inside=True, nodes=CACHED
    )
    groups = [small, Group("large", "One output of 100 MiB of bytes", cases("large"), inside=True)]
    text = (
        "Another process has computed and cached the outputs; this one finds them all, inside the process. Petal: the "
        "whole run, with its plan, keys, journal, and a sha256 over every byte that is read."
    )
    return Section("cache", "Cached outputs", text, groups)


def memory(home: Home) -> Section:
    """Measure peak memory, as the input grows and where streams meet again."""
    small, large = On(home, "log-512.txt", "memory-512"), On(home, "log-4096.txt", "memory-4096")
    both = [
        [
            on.petal("petal", LIBRARY, "filter.yaml"),
            on.grep(PATTERNS[0]),
            on.peer("polars", "Polars, lazy scan of lines", "data", "filter_polars"),
        ]
        for on in (small, large)
    ]
    both[0] += [
        small.petal("petal-items", "Petal, all functions of `str`", "items.py"),
        small.peer("python-match", "Python, loop over `str`", "python", "filter_match"),
        small.peer("hamilton", "Hamilton, generators", "hamilton", "filter_streams"),
        small.peer("kedro", "Kedro, lists", "kedro", "filter_lists", rounds=FEW, note="copy_mode=assign"),
    ]
    diamond = On(home, "log-2048.txt", "diamond")
    cases = [
        diamond.petal("petal", "Petal, count and rest meet again", "diamond.py"),
        diamond.peer("python", "Python, reads twice", "python", "read_twice"),
    ]
    title = "Diamond over 2 GiB: lines pass when their count is known"
    groups = [
        small.group("log-512", "Filter 512 MiB", _at_most(SOME, both[0])),
        large.group("log-4096", "Filter 4 GiB", _at_most(SOME, both[1])),
        diamond.group("diamond", title, _at_most(FEW, cases)),
    ]
    text = "What counts here is the peak of memory."
    return Section("memory", "Memory", text, groups)


def _at_most(rounds: int, cases: list[Case]) -> list[Case]:
    return [replace(case, rounds=min(case.rounds, rounds)) for case in cases]
