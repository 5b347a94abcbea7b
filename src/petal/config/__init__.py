"""Floor 4: pipeline files to and from specs."""
