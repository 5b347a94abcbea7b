"""``python -m petal`` is ``petal``."""

from petal.cli.main import main

if __name__ == "__main__":
    main()
