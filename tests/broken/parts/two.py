"""Hold two pipelines."""

from petal import Pipeline, node

first = Pipeline.of(node("EmptySource", id="a"))
second = Pipeline.of(node("EmptySource", id="b"))
