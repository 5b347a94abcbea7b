"""Petal: print the value of a cached function of the current folder (`edits.py`)."""

from petal import Pipeline

if __name__ == "__main__":
    print(Pipeline.from_file("pipeline.py").run().check().outputs["clean"])
