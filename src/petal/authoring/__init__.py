"""Floor 4: how users say things in Python: decorators, ``node()``, functions to a pipeline."""
