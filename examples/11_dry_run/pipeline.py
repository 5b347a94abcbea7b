"""Case 11 in Python: look at a pipeline before it runs."""

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="input.txt"),
    node("RegexFilter", id="filter", inputs={"lines": "reader"}, pattern="^WARNING"),
    node("FileWriter", id="sink", inputs={"lines": "filter"}, file_path="output.txt"),
    name="extract_logs",
)

if __name__ == "__main__":
    pipeline.run(dry=True)
