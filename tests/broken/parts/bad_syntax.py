"""Hold a mistake of Python."""

def broken(lines:
    return lines
