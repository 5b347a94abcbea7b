"""Floor 3: the plugin manager, its hooks and the tables of operators."""
