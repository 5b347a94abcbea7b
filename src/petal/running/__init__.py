"""Floor 6: call one operator, and run a chain of them as one."""
