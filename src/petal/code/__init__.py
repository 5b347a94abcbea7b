"""Floor 3: loading a pipeline's own Python files, and references to what is in them."""
