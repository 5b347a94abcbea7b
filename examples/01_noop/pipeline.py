"""Case 1 in Python: nothing goes from one end to the other."""

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("EmptySource", id="source"),
    node("NoOpTransformer", id="same", inputs={"items": "source"}),
    node("NoOpSink", id="sink", inputs={"items": "same"}),
    name="noop",
)

if __name__ == "__main__":
    pipeline.run().check()
