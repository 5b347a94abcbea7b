"""Say how a text feels, by VADER (Hutto and Gilbert, 2014): a lexicon of 7,500 words, and rules of English."""

from collections.abc import Iterable, Iterator

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

from petal import operator


@operator(rowwise=True)
class SentimentAnalyzer:
    """Write in front of each text how it feels, from -1 to +1.

    The lexicon is read when the node is made, and serves every text after that.
    """

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()

    def process(self, lines: Iterable[str]) -> Iterator[str]:
        """Give each text with its score."""
        for line in lines:
            yield f"{self._analyzer.polarity_scores(line)['compound']:+.2f}  {line}"
