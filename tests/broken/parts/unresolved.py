"""Hold an annotation that cannot be resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from petal import operator

if TYPE_CHECKING:
    from decimal import Decimal


@operator
def price(lines: list[str]) -> Decimal:
    return lines[0]
