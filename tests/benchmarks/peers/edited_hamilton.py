"""Hamilton: print the value of a cached function of the current folder (`edits.py`)."""

import sys

from hamilton import driver

if __name__ == "__main__":
    sys.path.insert(0, ".")
    import etl

    print(driver.Builder().with_modules(etl).with_cache(path="cache").build().execute(["clean"])["clean"])
