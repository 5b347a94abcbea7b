"""Cut a plan into units: what one thread runs at a time (S4.1).

A unit is one driver (a sink, a node that returns a value, a trunk, a leaf) and the streaming nodes that it pulls from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from petal.planning.holding import held_nodes
from petal.planning.moving import away_nodes
from petal.planning.stages import any_stream
from petal.spec.plan import Constant, FromNode, Moved, Plan, PlanNode, output_view, policies_of, stream_ports
from petal.spec.views import Seen, View

NO_OUTPUT = Seen(View.VALUE)
#: Streaming nodes that pull from each other on one thread; each takes several frames of Python's stack.
DEEPEST = 64


class Feed:
    """One edge, as execution needs it: the consumer's input, and its place among a variadic input's edges."""

    __slots__ = ("input", "port", "position", "source", "spill", "streams", "target")

    def __init__(self, source: int, port: str, target: int, name: str, position: int, streams: bool) -> None:
        self.source, self.port, self.target = source, port, target
        self.input, self.position, self.streams = name, position, streams
        self.spill = False


class Units:
    """The units of a plan, as parallel lists indexed by unit.

    Attributes:
        of: The unit of each node.
        seen: For each node, how its output flows.
        flows: For each node, whether it streams.
        ports: By node that gives several streams at once: the ports that are streams.
        members: Nodes of each unit in topological order; the last is its driver.
        waits: For each unit, the units that must have finished (values, ``after``).
        streams: For each unit, the units whose streams it reads through a buffer.
        branches: By trunk node: the feeds that get a buffer each.
        collected: Trunk nodes whose whole output somebody takes at once.
        loaded: Those of them that somebody takes into memory.
        collected_ports: Likewise, of nodes with several streams: node and port.
        whole: Nodes whose value somebody takes: of a node with several streams, all of them at once.
        pulled: For each node, whether its consumer pulls it.
        away: Nodes whose calls leave this process one by one.
        held: Nodes whose inputs and output wait until an attempt has succeeded.
        moved: By unit: the group that it is, all of which runs in one worker process.
        direct: Whether every unit is one node that runs here, and nothing streams or is given.
        sources: Where every unit is one node: those that feed its inputs, in their order, if nothing else does.
        consumers: For each node, how many feeds and other uses there are of its output.
    """

    def __init__(self, plan: Plan) -> None:
        count = len(plan.nodes)
        self.consumers = [0] * count
        self.away = away_nodes(plan)
        self.held = held_nodes(plan)
        self._group_of = {i: g for g, group in enumerate(plan.moved) for i in group.nodes}
        self.moved: dict[int, Moved] = {}
        self.direct = False
        self.sources: list[tuple[int, ...] | None] = []
        self.members: Sequence[Sequence[int]]
        self.waits: Sequence[Collection[int]]
        self.branches: dict[int, list[Feed]] = {}
        self.collected: set[int] = set()
        self.loaded: set[int] = set()
        self.collected_ports: set[tuple[int, str]] = set()
        self.whole: set[int] = set()
        self.waited_for: set[int] = set()
        if not any_stream(plan.operators, policies_of(plan)):
            self._each_by_itself(plan)
            self._note_moved(plan)
            self.direct = not (plan.overrides or self.away or self.moved or self.held)
            return
        specs = [plan.operators[n.operator] for n in plan.nodes]
        self.seen = [
            output_view(n, s) if s.outputs else NO_OUTPUT for n, s in zip(plan.nodes, specs, strict=True)
        ]
        self.flows = [
            seen.view.streams and i not in plan.overrides and i not in self._group_of and i not in self.held
            for i, seen in enumerate(self.seen)
        ]
        self.ports = {
            i: ports
            for i, s in enumerate(specs)
            if len(s.outputs) > 1
            and (ports := stream_ports(s))
            and i not in plan.overrides
            and i not in self._group_of
            and i not in self.held
        }
        waited: set[int] = set()
        for node in plan.nodes:
            waited.update(node.after)
        feeds: list[list[Feed]] = [[] for _ in range(count)]  # by source, only of nodes that stream
        sources: list[list[int]] = [[] for _ in range(count)]
        values: list[list[int]] = [[] for _ in range(count)]  # those that must have ended
        for i, node in enumerate(plan.nodes):
            self._read(plan, i, node, feeds, sources, values)
        self._mark_spills(plan, feeds)
        targets = set(plan.targets)
        self.pulled = [
            self.flows[i]
            and len(feeds[i]) == 1
            and self.consumers[i] == 1
            and i not in targets
            and i not in waited
            and feeds[i][0].target not in self._group_of
            and feeds[i][0].target not in self.held
            for i in range(count)
        ]
        self._cut_deep_chains(sources)
        self.of = [-1] * count
        made: list[list[int]] = []
        groups: dict[int, int] = {}
        for i in range(count - 1, -1, -1):
            group = self._group_of.get(i, -1)
            if self.pulled[i]:
                self.of[i] = self.of[feeds[i][0].target]
                made[self.of[i]].append(i)
            elif group in groups:
                self.of[i] = groups[group]
                made[self.of[i]].append(i)
            else:
                if group >= 0:
                    groups[group] = len(made)
                self.of[i] = len(made)
                made.append([i])
        for members in made:
            members.reverse()
        made.reverse()  # so that units start in the order of the plan
        self.members = made
        self.of = [len(made) - 1 - u for u in self.of]
        waits: list[set[int]] = [set() for _ in made]
        self.streams: list[set[int]] = [set() for _ in made]
        for i, node in enumerate(plan.nodes):
            unit = self.of[i]
            waits[unit].update([self.of[source] for source in values[i]])
            for source in node.after:
                waits[unit].add(self.of[source])
                self.waited_for.add(source)
        for unit, waited_units in enumerate(waits):
            waited_units.discard(unit)  # the members of a group wait for each other in the worker
        self.waits = waits
        self.waited_for.update(self.whole.intersection(self.ports))
        self._connect(feeds, waits)
        self._note_moved(plan)

    def _note_moved(self, plan: Plan) -> None:
        self.moved = {self.of[group.nodes[0]]: group for group in plan.moved}

    def _each_by_itself(self, plan: Plan) -> None:
        """No node streams: every one is a unit of its own."""
        count, consumers, operators = len(plan.nodes), self.consumers, plan.operators
        outputs = [operators[n.operator].outputs for n in plan.nodes]
        self.seen = [ports[0].seen if ports else NO_OUTPUT for ports in outputs]
        self.flows = [False] * count
        self.ports = {}
        self.of = list(range(count))
        self.members = [(i,) for i in range(count)]
        self.pulled = [False] * count
        self.streams = []
        waits: list[tuple[int, ...]] = []
        for node in plan.nodes:
            fed: list[int] = []
            plain = not node.after
            for binding in node.inputs.values():
                if type(binding) is FromNode:
                    source = binding.node
                    fed.append(source)
                    consumers[source] += 1
                    if binding.port != "output":
                        plain = False
                    continue
                plain = False
                for one in binding if type(binding) is tuple else ():
                    if type(one) is FromNode:
                        fed.append(one.node)
                        consumers[one.node] += 1
            waits.append(tuple(fed) if plain else (*fed, *node.after))
            self.sources.append(waits[-1] if plain else None)
        self.waits = waits

    def _cut_deep_chains(self, sources: list[list[int]]) -> None:
        """Let a buffer carry on where a chain of nodes that pull from each other would exhaust Python's stack."""
        depth = [0] * len(self.pulled)
        for i, pulled in enumerate(self.pulled):
            if pulled:
                depth[i] = 1 + max((depth[s] for s in sources[i]), default=0)
                if depth[i] > DEEPEST:
                    self.pulled[i], depth[i] = False, 0

    def _read(
        self,
        plan: Plan,
        i: int,
        node: PlanNode,
        feeds: list[list[Feed]],
        sources: list[list[int]],
        values: list[list[int]],
    ) -> None:
        spec = plan.operators[node.operator]
        for name, binding in node.inputs.items():
            if type(binding) is Constant:
                continue
            many: Sequence[object] = binding if type(binding) is tuple else (binding,)
            for position, one in enumerate(many):
                if type(one) is not FromNode:
                    continue
                source = one.node
                self.consumers[source] += 1
                sources[i].append(source)
                if not self.flows[source] and one.port not in self.ports.get(source, ()):
                    values[i].append(source)
                    self.whole.add(source)
                else:
                    port = spec.input(name)
                    streams = port is not None and port.seen.view.streams and i not in self.held
                    feeds[source].append(Feed(source, one.port, i, name, position, streams))

    def _mark_spills(self, plan: Plan, feeds: list[list[Feed]]) -> None:
        marked = {(k.source, k.target, k.input) for s in plan.stages for k in s.links if k.spill}
        if marked:
            for group in feeds:
                for feed in group:
                    feed.spill = (feed.source, feed.target, feed.input) in marked

    def _connect(self, feeds: list[list[Feed]], waits: list[set[int]]) -> None:
        for i, group in enumerate(feeds):
            if self.pulled[i]:
                continue
            for feed in group:
                unit = self.of[feed.target]
                if self.of[i] in waits[unit]:  # it reads only after the stream has come to its end
                    feed.spill = True
                if feed.streams:
                    self.branches.setdefault(i, []).append(feed)
                    self.streams[unit].add(self.of[i])
                else:
                    if i in self.ports:
                        self.collected_ports.add((i, feed.port))
                        self.waited_for.add(i)
                    else:
                        self.collected.add(i)
                        if feed.target not in self.held:
                            self.loaded.add(i)
                    waits[unit].add(self.of[i])
