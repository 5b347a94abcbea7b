"""Case 4 in Python: two files become one, in the order of the merger's inputs."""

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="reader_a", file_path="file_a.txt"),
    node("FileReader", id="reader_b", file_path="file_b.txt"),
    node("ListMerger", id="merger", inputs={"lists": ["reader_a", "reader_b"]}),
    node("FileWriter", id="writer", inputs={"lines": "merger"}, file_path="merged.txt"),
    name="merge",
)

if __name__ == "__main__":
    pipeline.run().check()
