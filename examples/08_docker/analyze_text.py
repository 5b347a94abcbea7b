"""Find the key phrases of a text, by TextRank: words that stand near important words are important.

As a program it knows nothing of Petal: it reads the list of its inputs from standard input, as JSON, its parameters from
`$PETAL_PARAMS`, and writes its output to standard output.
"""

import json
import os
import re
import sys
from collections import Counter, defaultdict
from typing import TypedDict

WORD = re.compile(r"[^\W\d_]+")
#: Words that say nothing by themselves.
COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be been before but by carry come do for from give has have in is it its less like look makes
        many more next no nothing of on one or other our same so some such tell than that the their them there they this
        to us was where which while with
        """,
    )
)


class Phrase(TypedDict):
    """A phrase of a text, how much it matters, from 0 to 1, and how often it occurs."""

    phrase: str
    score: float
    count: int


def key_phrases(lines: list[str], top: int) -> list[Phrase]:
    """Return the phrases that matter most, the first one first."""
    phrases = [phrase for sentence in re.split(r"[.,:;]", " ".join(lines)) for phrase in runs(sentence)]
    rank = text_rank([word for phrase in phrases for word in phrase])
    count = Counter(phrases)
    score = {
        phrase: sum(rank[word] for word in phrase) / len(phrase) ** 0.5 for phrase in count if len(phrase) < 4
    }
    # A phrase that occurs more than once is a term; of those that occur once, most are chance.
    terms = {phrase: value * count[phrase] for phrase, value in score.items() if count[phrase] > 1}
    best = max(terms.values(), default=1.0)
    ranked = sorted(terms, key=lambda phrase: (-terms[phrase], phrase))[:top]
    return [
        Phrase(phrase=" ".join(phrase), score=round(terms[phrase] / best, 3), count=count[phrase])
        for phrase in ranked
    ]


def runs(sentence: str) -> list[tuple[str, ...]]:
    """Return the runs of words in a sentence that no common word interrupts."""
    found: list[list[str]] = [[]]
    for word in WORD.findall(sentence.lower()):
        if word in COMMON:
            found.append([])
        else:
            found[-1].append(word.removesuffix("s") if len(word) > 4 else word)
    return [tuple(run) for run in found if run]


def text_rank(words: list[str], window: int = 4, rounds: int = 200) -> dict[str, float]:
    """Return the importance of each word: a random walk from word to word that is near it, and how often it is where."""
    near: dict[str, Counter[str]] = defaultdict(Counter)
    for distance in range(1, window):
        for one, other in zip(words, words[distance:], strict=False):
            if one != other:
                near[one][other] += 1
                near[other][one] += 1
    weight = {word: sum(others.values()) for word, others in near.items()}
    rank = dict.fromkeys(near, 1.0)
    for _ in range(rounds):
        rank = {
            word: 0.15 + 0.85 * sum(rank[other] * count / weight[other] for other, count in others.items())
            for word, others in near.items()
        }
    return defaultdict(float, rank)


if __name__ == "__main__":
    [lines] = json.load(sys.stdin)
    json.dump(key_phrases(lines, **json.loads(os.environ["PETAL_PARAMS"])), sys.stdout)
