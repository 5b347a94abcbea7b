"""A cache never changes results: random pipelines give the same bytes whatever the cache holds (G7, G8, F09)."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from petal.data.cache import Cache
from petal.data.disk_store import DiskStore
from tests.faults.dags import Dag, random_dag
from tests.faults.kills import effects
from tests.faults.scale import seeded, share
from tests.faults.warm import Warm

SHARES = 4  # tests of their own, so that they run side by side
EACH = share(200 // SHARES, least=3)
RUN = ("run", "pipeline.yaml", "--quiet")


class Bench:
    """A folder in which one pipeline runs again and again."""

    def __init__(self, runner: Warm, dag: Dag, folder: Path) -> None:
        self._runner, self._dag, self.folder = runner, dag, folder
        folder.mkdir()

    def learn(self) -> None:
        """Run it once, and have the warm process load what that takes."""
        self._dag.write(self.folder, cached=True)
        assert self._runner.learn(RUN, self.folder).code == 0

    def run(
        self, *, cached: bool = True, without: str | None = None
    ) -> tuple[dict[str, bytes], Counter[str]]:
        """Run it; return what it has written, and how often each node's code ran."""
        self._dag.write(self.folder, cached=cached)
        for name in ("effects", *self._dag.targets):
            (self.folder / name).unlink(missing_ok=True)
        ran = self._runner.run(RUN, self.folder, without=without)
        if ran.code:
            raise RuntimeError(f"{ran.said}\n{self._dag.text(cached=cached)}")
        written = {name: (self.folder / name).read_bytes() for name in self._dag.targets}
        return written, effects(self.folder)

    def entries(self) -> dict[str, str]:
        """Return which node each entry of the cache belongs to, by key."""
        cache = self._cache()
        try:
            return {e.key: e.label.about["node"] for e in cache.entries() if e.label is not None}
        finally:
            cache.close()

    def forget(self, keys: list[str], _chance: random.Random) -> None:
        """Delete entries."""
        cache = self._cache()
        for key in keys:
            assert cache.forget(key)
        cache.close()

    def damage(self, keys: list[str], chance: random.Random) -> None:
        """Change one byte in the first half of entries: that of what a node gave."""
        folder = self.folder / ".petal" / "cache"
        with closing(sqlite3.connect(folder / "cache.db")) as database:
            for key in keys:
                row = database.execute("SELECT value, filename FROM Cache WHERE key = ?", (f"out:{key}",))
                value, name = row.fetchone()
                data = bytearray(value if name is None else (folder / name).read_bytes())
                data[chance.randrange(len(data) // 4)] ^= 1 << chance.randrange(8)
                if name is not None:
                    (folder / name).write_bytes(data)
                else:
                    database.execute("UPDATE Cache SET value = ? WHERE key = ?", (bytes(data), f"out:{key}"))
            database.commit()

    def _cache(self) -> Cache:
        folder = self.folder / ".petal" / "cache"
        return Cache(DiskStore(folder), folder / "making")


def some(keys: dict[str, str], chance: random.Random) -> list[str]:
    """Return some of the keys, at least one."""
    return chance.sample(sorted(keys), chance.randint(1, len(keys)))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(SHARES))
def test_a_cache_never_changes_what_is_written(part, runner, tmp_path):
    """Uncached, cold, warm, with entries deleted and with entries damaged: equal bytes, and what is kept does not run."""
    Bench(runner, random_dag(seeded("dag", -1)), tmp_path / "first").learn()
    for number in range(part * EACH, (part + 1) * EACH):
        chance = seeded("dag", number)
        dag = random_dag(chance)
        bench = Bench(runner, dag, tmp_path / f"dag-{number}")
        says = f"DAG {number}\n{dag.text(cached=True)}"
        plain, ran = bench.run(cached=False)
        assert set(ran) >= dag.called, says
        assert bench.run()[0] == plain, says
        written, ran = bench.run()
        assert written == plain, says
        assert not set(ran) & set(dag.inner), f"{ran} in a warm run of {says}"
        entries = bench.entries()
        for spoil in (Bench.forget, Bench.damage):
            chosen = some(entries, chance)
            spoil(bench, chosen, chance)
            written, ran = bench.run()
            assert written == plain, says
            kept = {node for key, node in entries.items() if key not in chosen}
            assert not set(ran) & kept, f"{ran} although kept: {kept} in {says}"
            assert bench.entries().keys() == entries.keys(), says  # two nodes may share one


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_verification_damage_is_served(runner, tmp_path):
    """The positive control: where digests are not looked at, the same damage shows in what is written, or as an error."""
    noticed = 0
    for number in range(5):
        chance = seeded("dag", number)
        bench = Bench(runner, random_dag(chance), tmp_path / f"dag-{number}")
        plain, _ = bench.run()
        bench.damage(list(bench.entries()), chance)
        try:
            noticed += bench.run(without="verification")[0] != plain
        except RuntimeError:
            noticed += 1
    assert noticed
