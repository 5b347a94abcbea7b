"""A hybrid pipeline in Python: `@remote` says where each of its operators runs (operators.py)."""

from operators import groups, pairs, sign

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="messages.txt"),
    sign,
    pairs,
    groups,
    node("CsvWriter", id="writer", inputs={"records": "groups"}, file_path="groups.csv"),
    name="near_duplicates",
)

if __name__ == "__main__":
    pipeline.run().check()
