"""Case 6 in Python: two fields of each JSON record become a CSV table."""

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("JsonFileReader", id="events", file_path="events.jsonl"),
    node("KeyExtractor", id="keys", inputs={"records": "events"}, keys=["timestamp", "level"]),
    node("CsvWriter", id="writer", inputs={"records": "keys"}, file_path="summary.csv"),
    name="json_to_csv",
)

if __name__ == "__main__":
    pipeline.run().check()
