"""Fail while it is imported."""

TABLE = {"a": 1}
LIMIT = TABLE["b"]
