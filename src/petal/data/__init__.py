"""Floor 5: the data itself: views and adapters, text, files."""
