"""Floor 8: the only composition root: session and the Pipeline façade."""
