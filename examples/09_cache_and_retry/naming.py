"""What a requirement names."""

import re


def plain_name(requirement: str) -> str:
    """Return a requirement without its versions."""
    return re.split("[<>=!~]", requirement)[0]
