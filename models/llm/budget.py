"""How much of a ticket an llm reads: so many tokens, or as many bytes as it was trained on. Called by workers. Pure."""

from collections.abc import Callable

from models.llm.text import BUDGET, Prepared, fit

BYTES_A_TOKEN = 3
"""A guess where no tokenizer can be asked: English has about four."""


def fitted(whole: Prepared, tokens: int | None, count: Callable[[str], int | None]) -> Prepared:
    """A ticket within the budget, its head and its tail; `count` says how many tokens a text is, or None.

    No text has more tokens than bytes of UTF-8, so only long ones have to be counted.
    """
    if tokens is None:
        return fit(whole, BUDGET)
    size = len(whole.text.encode())
    counted = size if size <= tokens else count(whole.text)
    if counted is None:
        return fit(whole, BYTES_A_TOKEN * tokens)
    return whole if counted <= tokens else _longest(whole, tokens, size, lambda text: (count(text) or 0) <= tokens)


def surely(whole: Prepared, tokens: int | None) -> Prepared:
    """What is within the budget whatever the tokenizer."""
    return fit(whole, tokens or BUDGET)


def _longest(whole: Prepared, least: int, most: int, fits: Callable[[str], bool]) -> Prepared:
    """By bisection: `least` bytes fit, `most` do not."""
    best = fit(whole, least)
    while most - least > 1:
        middle = (least + most) // 2
        tried = fit(whole, middle)
        if fits(tried.text):
            best, least = tried, middle
        else:
            most = middle
    return best
