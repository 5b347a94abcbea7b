"""Floor 1: frozen structs that hold names and types, never functions."""
