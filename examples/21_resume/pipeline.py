"""A run that goes on where it was stopped, in Python: `pipeline.run(resume="last")`."""

import sys
from pathlib import Path

from operators import charge, invoices

from petal import Pipeline, node

pipeline = Pipeline.of(
    node("FileReader", id="orders", file_path="orders.txt"),
    node(charge, bank=Path("bank.txt")),
    node("FileWriter", id="receipts", inputs={"lines": "charge"}, file_path="receipts.txt"),
    node(invoices, inputs={"receipts": "charge"}, after=["receipts"]),
    node("FileWriter", id="writer", inputs={"lines": "invoices"}, file_path="invoices.txt"),
    name="invoicing",
)

if __name__ == "__main__":
    pipeline.run(home=".petal", resume="last" if "--resume" in sys.argv else None).check()
