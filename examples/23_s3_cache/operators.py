"""Find the periods of the tide in measured water levels: an operator that computes for a while."""

import math
from typing import TypedDict

from petal import operator


class Level(TypedDict):
    """A water level, in metres, at an hour."""

    hour: int
    level: float


class Tide(TypedDict):
    """A wave of the tide: its period in hours, and its height in metres."""

    period: float
    height: float


@operator
def tides(levels: list[Level], *, waves: int = 3) -> list[Tide]:
    """Give the waves that a series of levels consists of, the highest first.

    Each is the highest peak of what is left when the waves before it are taken away (a periodogram that is cleaned step
    by step; Roberts, Lehár and Dreher, 1987).

    Args:
        levels: The levels.
        waves: How many waves are wanted.
    """
    hours = [row["hour"] for row in levels]
    mean = sum(row["level"] for row in levels) / len(levels)
    left = [row["level"] - mean for row in levels]
    found: list[Tide] = []
    for _ in range(waves):
        period = max((10 + i / 50 for i in range(1_000)), key=lambda p: abs(_wave(hours, left, p)))
        wave = _wave(hours, left, period)
        left = [
            y - (wave * _turned(hour, period).conjugate()).real for hour, y in zip(hours, left, strict=True)
        ]
        found.append(Tide(period=round(period, 2), height=round(abs(wave), 2)))
    return sorted(found, key=lambda tide: -tide["height"])


def _wave(hours: list[int], levels: list[float], period: float) -> complex:
    """Return amplitude and phase with which a wave of some period stands in a series."""
    return 2 / len(hours) * sum(y * _turned(hour, period) for hour, y in zip(hours, levels, strict=True))


def _turned(hour: int, period: float) -> complex:
    angle = 2 * math.pi * hour / period
    return complex(math.cos(angle), -math.sin(angle))
