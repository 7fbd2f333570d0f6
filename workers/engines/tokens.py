"""Codes as tokens: how each may read, and what a list of the likeliest tokens says of them. Used by the engines."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce

from models.errors import ConfigError
from models.llm.answer import bounded
from models.llm.card import Card
from models.llm.codes import LEVELS, resolve
from workers.engines.base import Scores, Timings
from workers.engines.guard import added

# Prompts for an llm that was never trained on them.
_ZERO_SHOT = "instruct-"
# How vocabularies write the space before a word: SentencePiece, and byte-level BPE.
_SPACES = "\u2581\u0120"


def single(card: Card) -> list[str]:
    """Every code of one token on the card: those of two levels in their parts, each once."""
    codes = [code for labels in card.codes.values() for code in labels.values()]
    return list(dict.fromkeys(part for code in codes for part in code.split(LEVELS)))


def spellings(card: Card) -> dict[str, tuple[str, ...]]:
    """code -> the texts that count as it. An llm that was trained on it counts that alone; another may put a space."""
    return {code: (code, f" {code}") if _zero_shot(card) else (code,) for code in single(card)}


def ids(card: Card, tokenize: Callable[[str], Sequence[int]]) -> dict[str, list[int]]:
    """code -> the tokens that count as it by the llm's own tokenizer; ConfigError unless each has some of its own."""
    if not _zero_shot(card):
        return {code: [id_] for code, id_ in resolve(single(card), tokenize).items()}
    begin = list(tokenize("\n"))  # at a text's very beginning some tokenizers put a space by themselves
    read = {code: [tokenize(f"\n{text}") for text in texts] for code, texts in spellings(card).items()}
    found = {code: sorted({last for *first, last in many if first == begin}) for code, many in read.items()}
    if several := [code for code, own in found.items() if not own]:
        raise ConfigError(f"The code {several[0]!r} is several tokens in this llm: a code must be exactly one.")
    every = [id_ for own in found.values() for id_ in own]
    if len(set(every)) < len(every):
        raise ConfigError("Two codes are the same token in this llm: each label needs a code of its own.")
    return found


def known(card: Card, tokenize: Callable[[str], Sequence[int]]) -> Callable[[str], bool]:
    """Whether a text is one token where the llm's answer begins, by its own tokenizer."""
    begin = list(tokenize("\n"))
    return lambda text: _answers(card, text, lambda one: list(tokenize(f"\n{one}")[:-1]) == begin)


def listed(card: Card, vocabulary: Collection[str]) -> Callable[[str], bool]:
    """The same by the llm's list of tokens, in which a space is a sign of its own."""
    spaced = {f" {token[1:]}" for token in vocabulary if token[:1] in _SPACES}
    return lambda text: _answers(card, text, lambda one: one in (spaced if one[0] == " " else vocabulary))


def _answers(card: Card, code: str, single: Callable[[str], bool]) -> bool:
    """Whether a code is one token as an llm of this family writes it first: Llama 3 without a space before it.

    Mistral's older tokenizer (SentencePiece) puts one, its newer ones do not; of other llms nobody knows.
    """
    bare, spaced = single(code), single(f" {code}")
    return {"mistral": bare and spaced, "llama3": bare}.get(card.family, bare or spaced)


def _zero_shot(card: Card) -> bool:
    return card.prompt_version.startswith(_ZERO_SHOT)


def either(logprobs: Iterable[float]) -> float:
    """The log-probability that the next token is any of them."""
    return reduce(added, logprobs)


def scored(
    listed: Mapping[str, float], codes: Sequence[str], known: Mapping[str, Sequence[str]], timings: Timings
) -> Scores:
    """What the `listed` tokens (text -> log-probability) say of those `codes` that are `known`, by their spellings.

    A code counts as listed when one of its spellings is.
    """
    found = {code: [listed[text] for text in known[code] if text in listed] for code in codes if code in known}
    logprobs = {code: either(values) for code, values in found.items() if values}
    missing = [code for code in found if code not in logprobs]
    complete = len(logprobs) == len(set(codes))
    return Scores(logprobs, complete, timings, bounds=bounded(listed.values(), missing))
