"""Floor 7: the scheduler (pure) and the engine that does what it says."""
