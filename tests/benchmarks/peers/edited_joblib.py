"""joblib: print the value of a cached function of the current folder (`edits.py`)."""

import sys

from joblib import Memory

if __name__ == "__main__":
    sys.path.insert(0, ".")
    import etl

    print(Memory("cache", verbose=0).cache(etl.clean)(etl.text()))
