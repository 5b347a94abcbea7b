"""Floor 4: a spec to a validated plan, and pictures of it."""
