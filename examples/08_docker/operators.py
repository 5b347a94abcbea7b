"""The same analysis as an operator: a function with types, which runs wherever its node says."""

from analyze_text import Phrase, key_phrases

from petal import operator


@operator
def text_analyzer(lines: list[str], *, top: int = 5) -> list[Phrase]:
    """Find the key phrases of a text.

    Args:
        lines: The text.
        top: How many phrases are wanted.
    """
    return key_phrases(lines, top)
