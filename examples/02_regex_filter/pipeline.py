"""Case 2 in Python: keep the lines of a file that match a pattern."""

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="input.txt"),
    node("RegexFilter", id="filter", inputs={"lines": "reader"}, pattern="^ERROR"),
    node("FileWriter", id="writer", inputs={"lines": "filter"}, file_path="output.txt"),
    name="regex_filter",
)

if __name__ == "__main__":
    pipeline.run().check()
