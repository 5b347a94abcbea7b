"""Floor 7: who listens to events: the bus, logs, progress."""
