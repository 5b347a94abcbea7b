"""Case 8 in Python: a step in a container, by one entry of its node."""

from operators import text_analyzer

from petal import Pipeline, node

IMAGE = {"backend": "docker", "image": "petal-example/key-phrases"}

pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="article.txt"),
    node(text_analyzer, id="analyze", inputs={"lines": "reader"}, policies={"execution": IMAGE}),
    node("CsvWriter", id="writer", inputs={"records": "analyze"}, file_path="phrases.csv"),
    name="key_phrases",
)

if __name__ == "__main__":
    pipeline.run().check()
