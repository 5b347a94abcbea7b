"""Which nodes are held: boundaries whose input and output wait until an attempt has succeeded (S4.3)."""

from __future__ import annotations

from petal.spec.plan import Plan, PlanNode, policies_of


def is_held(node: PlanNode) -> bool:
    """Whether a node's stream inputs are kept for further attempts, and its output until one has succeeded.

    A node in batches streams again: each of its calls is tried again by itself. What is cached, or stored because it
    must not run twice (S9.3), is held in any case.
    """
    policies = node.policies
    if policies is None:
        return False
    if policies.cache is not None or policies.kept:
        return True
    again = policies.retry is not None and policies.retry.max_attempts > 1
    return policies.batch is None and (again or bool(policies.execution.failover))


def caches(plan: Plan) -> bool:
    """Whether a plan has a node whose output is cached."""
    return any(p is not None and p.cache is not None for p in policies_of(plan))


def stores(plan: Plan) -> bool:
    """Whether a plan has a node whose output is cached, or stored because it must not run twice (S9.3)."""
    return any(p is not None and (p.cache is not None or p.kept) for p in policies_of(plan))


def held_nodes(plan: Plan) -> frozenset[int]:
    """Return the held nodes of a plan."""
    if not any(
        p is not None and (p.cache is not None or p.kept or p.retry is not None or p.execution.failover)
        for p in policies_of(plan)
    ):
        return frozenset()
    return frozenset(i for i, node in enumerate(plan.nodes) if i not in plan.overrides and is_held(node))
