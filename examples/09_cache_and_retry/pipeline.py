"""Case 9 in Python: a node that fails by chance is tried again, and what has been computed is cached."""

from operators import missing

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="input.txt", policies={"cache": True}),
    node(
        "FlakyTransformer",
        id="flaky",
        inputs={"items": "reader"},
        probability=0.6,
        seed=2,
        policies={"retry": 3, "cache": True},
    ),
    node(missing, inputs={"lines": "flaky"}, policies={"cache": True}),
    node("FileWriter", id="writer", inputs={"lines": "missing"}, file_path="missing.txt"),
    name="cache_and_retry",
)

if __name__ == "__main__":
    pipeline.run().check()
