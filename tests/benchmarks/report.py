"""Write results for people: `RESULTS.md`, and the short table of the README."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.cases import Measured
from tests.benchmarks.results import Results, figures

BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
ROUNDED = 3
_ABOUT = """# How Petal does beside others

`python -m tests.benchmarks` measured this and wrote it. Each case is a process of its own; in each round every case runs
once, in an order drawn anew, so that what disturbs the machine disturbs all alike. Only ratios within a table say much.
What takes long runs in fewer rounds, as the tables say. What each peer wrote was compared with what Petal wrote, byte for
byte. Peak memory is that of a case's largest process, in MB of 2^20 bytes. The code of every case is in [peers/](peers).
"""
#: The README's rows: what, section, group, Petal's row, the rows beside it with their short names.
_SHORT: list[tuple[str, str, str, str, dict[str, str]]] = [
    (
        "a pipeline of three nodes, whole process",
        "hello",
        "three",
        "petal",
        {
            "joblib": "joblib",
            "luigi": "Luigi",
            "kedro": "Kedro",
            "hamilton": "Hamilton",
            "dagster": "Dagster",
            "prefect": "Prefect",
        },
    ),
    (
        "each of 1,000 nodes, built and run",
        "nodes",
        "layered_1000",
        "petal",
        {
            "hamilton": "Hamilton",
            "kedro": "Kedro",
            "luigi": "Luigi",
            "prefect": "Prefect",
            "dagster": "Dagster",
        },
    ),
    (
        "each of 10,000 nodes",
        "nodes",
        "layered_10000",
        "petal",
        {"hamilton": "Hamilton", "dask": "Dask"},
    ),
    (
        "filter a log of 1 GiB, built-in operators",
        "filter",
        "log",
        "petal",
        {"grep": "grep", "polars": "Polars", "duckdb": "DuckDB", "luigi": "Luigi", "dagster": "Dagster"},
    ),
    (
        "the same with a function of your own",
        "filter",
        "log",
        "petal-function",
        {
            "python-match": "a loop in Python",
            "hamilton": "Hamilton",
            "kedro": "Kedro",
            "pipefunc": "pipefunc",
        },
    ),
    (
        "three filters, three files",
        "fanout",
        "log",
        "petal",
        {"mawk": "mawk", "polars": "Polars", "hamilton": "Hamilton", "kedro": "Kedro"},
    ),
    (
        "512 MiB of JSON lines to CSV",
        "jsonl",
        "events",
        "petal",
        {"polars": "Polars", "duckdb": "DuckDB", "orjson": "orjson", "jq": "jq"},
    ),
    (
        "64 functions that wait 0.1 s",
        "tasks",
        "waits",
        "petal",
        {
            "hamilton": "Hamilton, with threads",
            "hamilton-default": "Hamilton",
            "dask": "Dask",
            "prefect": "Prefect",
        },
    ),
]


def markdown(results: Measured) -> str:
    """Return the text of `RESULTS.md`."""
    parts = [_ABOUT, _machine(results), _figures(results), "![Petal beside others](results.svg)\n"]
    parts += [_section(section) for section in results["sections"].values()]
    return "\n".join(parts)


def readme_table(results: Measured) -> str:
    """Return the README's short table: medians, and of Petal the peak memory where it reads a file."""
    found = Results(results)
    lines = ["| measured | Petal | others |", "|---|---|---|"]
    for what, section, group, petal, others in _SHORT:
        unit = results["sections"][section]["groups"][group]["unit"]
        own = amount(found.figure(section, group, petal), unit)
        if results["sections"][section]["groups"][group]["input"]:
            own += f", {found.memory(section, group, petal):.0f} MB"
        rows = results["sections"][section]["groups"][group]["rows"]
        beside = [
            (median(rows[key]["figures"]), name) for key, name in others.items() if rows[key]["figures"]
        ]
        named = ", ".join(f"{name} {amount(figure, unit)}" for figure, name in sorted(beside))
        lines.append(f"| {what} | {own} | {named} |")
    return "\n".join(lines)


def with_table(readme: str, results: Measured) -> str:
    """Return the README with the short table between its markers.

    Raises:
        ValueError: It has no markers.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no markers: put {BEGIN} and {END} where the table belongs")
    return f"{before}{BEGIN}\n{readme_table(results)}\n{END}{after}"


def amount(figure: float, unit: str) -> str:
    """Return a figure with its unit, with three significant digits."""
    digits = max(0, ROUNDED - len(str(int(figure)))) if figure >= 1 else ROUNDED
    return f"{figure:,.{digits}f} {unit}"


def _machine(results: Measured) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}.\n\n"
        f"Versions: {versions}.\n"
    )


def _figures(results: Measured) -> str:
    lines = ["## Figures\n", "| what | must be | is | |", "|---|---|---|---|"]
    words = {True: "met", False: "**not met**", None: "not measured"}
    lines += [f"| {f.what} | {f.wanted} | {f.found} | {words[f.met]} |" for f in figures(results)]
    return "\n".join(lines) + "\n"


def _section(section: Measured) -> str:
    parts = [f"## {section['title']}\n", f"{section['text']} Measured on {section['date']}.\n"]
    for group in section["groups"].values():
        parts += [f"### {group['title']}\n", _table(group)]
    return "\n".join(parts)


def _table(group: Measured) -> str:
    unit = {"s": "s", "µs": "µs a node"}[group["unit"]]
    lines = [
        f"| case | rounds | median, {unit} | range | ratio | peak MB | notes |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    key, first = next(iter(group["rows"].items()))
    base = median(first["figures"]) if key.startswith("petal") and first["figures"] else None
    for row in sorted(group["rows"].values(), key=lambda row: median(row["figures"] or [float("inf")])):
        lines.append(_row(row, base))
    return "\n".join(lines) + "\n"


def _row(row: Measured, base: float | None) -> str:
    figures = row["figures"]
    if not figures:
        return f"| {row['name']} | 0 | – | – | – | – | {row['note']} |"
    middle = median(figures)
    name = f"**{row['name']}**" if row["name"].startswith("Petal") else row["name"]
    span = f"{_number(min(figures))}–{_number(max(figures))}" if len(figures) > 1 else "–"
    ratio = f"{_number(middle / base)}x" if base else "–"
    return f"| {name} | {len(figures)} | {_number(middle)} | {span} | {ratio} | {row['memory']:.0f} | {row['note']} |"


def _number(figure: float) -> str:
    return amount(figure, "").rstrip()
