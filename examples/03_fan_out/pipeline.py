"""Case 3 in Python: one file is read once and goes through three filters to three files."""

from petal import Pipeline, node

PATTERNS = {"upgraded": " upgrade ", "configured": " configure ", "installed": " status installed "}

reader = node("FileReader", id="reader", file_path="input.txt")
filters = [node("RegexFilter", id=id, inputs={"lines": reader}, pattern=p) for id, p in PATTERNS.items()]
writers = [
    node("FileWriter", id=f"{f.id}_file", inputs={"lines": f}, file_path=f"{f.id}.txt") for f in filters
]

pipeline = Pipeline.of(reader, *filters, *writers, name="fan_out")

if __name__ == "__main__":
    pipeline.run().check()
