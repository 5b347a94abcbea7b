"""Floor 7: the other side of a process boundary: takes a request, calls the operator, gives a reply."""
