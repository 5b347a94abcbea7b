"""Floor 2: the protocols that plugins and floors above implement."""
