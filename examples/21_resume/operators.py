"""Charge orders at a bank, and write invoices; the power goes off in between."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from petal import operator


@operator(effects="once")
def charge(orders: list[str], *, bank: Path) -> list[str]:
    """Charge each order. The bank books whatever it is asked to, as often as it is asked."""
    with bank.open("a") as account:
        account.writelines(f"booked {order}\n" for order in orders)
    return [f"{order} paid" for order in orders]


@operator
def invoices(receipts: list[str]) -> Iterator[str]:
    """Give the text of an invoice for each receipt."""
    if "POWER_CUT" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)  # nothing can be cleaned up after that
    for receipt in receipts:
        number, amount, _ = receipt.split()
        yield f"Order {number}: {amount} received with thanks."
