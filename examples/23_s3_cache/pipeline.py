"""The same in Python: what is kept in S3 is found by whoever has the same code, parameters and inputs."""

from operators import tides

from petal import Pipeline, cache, node

BUCKET = "s3://petal-example"

pipeline = Pipeline.of(
    node("CsvReader", id="reader", file_path=f"{BUCKET}/levels.csv"),
    node(cache(tides), inputs={"levels": "reader"}),
    node("CsvWriter", id="writer", inputs={"records": "tides"}, file_path=f"{BUCKET}/tides.csv"),
    name="tides",
)

if __name__ == "__main__":
    pipeline.run().check()
