"""Case 5 in Python: the operator is the function itself."""

from operators import timestamp_appender

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="lines", file_path="input.txt"),
    node(timestamp_appender, id="stamp"),  # its input `lines` is the node of that name
    node("FileWriter", id="writer", inputs={"lines": "stamp"}, file_path="stamped.txt"),
    name="custom_operator",
)

if __name__ == "__main__":
    pipeline.run().check()
