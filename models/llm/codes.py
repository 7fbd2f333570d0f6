"""Label <-> one-token code, per llm and field. Called by finetune (assign), zero_shot and the engines. Pure.

Codes of a trained llm are ordinary tokens with an upper-case letter, which a lower-cased ticket can never contain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, pairwise
from string import ascii_lowercase, ascii_uppercase

from models.errors import ConfigError

Codes = Mapping[str, Mapping[str, str]]

LEVELS = "/"
"""What parts a code of two levels: that of its group, and its own within the group."""
MOST = 16
"""Groups of a field, and members of a group: what any server lists of the likeliest tokens holds as many."""
CANDIDATES = (
    *ascii_uppercase,
    *(one + two for one in ascii_uppercase for two in ascii_uppercase),
    *(one + two for one in ascii_uppercase for two in ascii_lowercase),
)


def assign(labels: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """field -> label -> code, none used twice: "A".."Z" for fields of at most 26 labels, "Aa".."Zz" for longer ones.

    Raises ConfigError when they run out.
    """
    singles = iter(ascii_uppercase)
    pairs = (upper + lower for upper in ascii_uppercase for lower in ascii_lowercase)
    codes = {
        field: dict(zip(names, singles if len(names) <= len(ascii_uppercase) else pairs, strict=False))
        for field, names in labels.items()
    }
    if any(len(codes[field]) < len(names) for field, names in labels.items()):
        raise ConfigError(
            "There are too many labels: 26 in short fields together and 676 in long ones can have a code."
        )
    return codes


def for_vocabulary(
    labels: Mapping[str, Sequence[str]], known: Callable[[str], bool], shows: int | None
) -> dict[str, dict[str, str]]:
    """field -> label -> code for an llm that was trained on none; `known` says whether it has a text as one token.

    A field with more labels than the engine `shows`, or than there are such tokens, gets codes of two levels, "A/B".
    No two fields share a code or group. Raises ConfigError when there are too few.
    """
    found = list(islice(filter(known, CANDIDATES), sum(map(len, labels.values()))))
    grouped = {field: groups(names) for field, names in labels.items() if shows is not None and len(names) > shows}
    while _needed(labels, grouped) > len(found):
        longest = max((field for field in labels if field not in grouped), key=lambda f: len(labels[f]), default=None)
        if longest is None or len(labels[longest]) <= MOST:
            likely = "" if found else "Its family in triage.yaml is probably wrong for this llm. "
            raise ConfigError(
                f"{likely}The labels need {_needed(labels, grouped)} codes of one token each, and this llm has "
                f"{len(found)}: use fewer fields or labels, or another llm, and see that its family in "
                "triage.yaml is right."
            )
        grouped[longest] = groups(labels[longest])
    free = iter(found)
    return {
        field: _two_levels(grouped[field], free, found) if field in grouped else dict(zip(names, free, strict=False))
        for field, names in labels.items()
    }


def groups(labels: Sequence[str]) -> list[list[str]]:
    """Labels in at most 16 groups of at most 16: those with the same text before a dot together, else in their order.

    Raises ConfigError for more than 256.
    """
    if len(labels) > MOST * MOST:
        raise ConfigError(
            f"A field of {len(labels)} labels is too long for this llm, which can name {MOST * MOST} in {MOST} groups: "
            "split it into two fields, or use a linear llm."
        )
    families: dict[str, list[str]] = {}
    for label in labels:
        families.setdefault(label.partition(".")[0] if "." in label else "", []).append(label)
    apart = [part for family in families.values() for part in _even(family)]
    return apart if len(apart) <= MOST else _even([label for family in families.values() for label in family])


def resolve(codes: Iterable[str], tokenize: Callable[[str], Sequence[int]]) -> dict[str, int]:
    """code -> token id by this llm's own tokenizer. Raises ConfigError unless each is one token of its own."""
    ids: dict[str, int] = {}
    for code in codes:
        found = tokenize(code)
        if len(found) != 1:
            raise ConfigError(f"The code {code!r} is {len(found)} tokens in this llm: a code must be exactly one.")
        ids[code] = found[0]
    if len(set(ids.values())) < len(ids):
        raise ConfigError("Two codes are the same token in this llm: each label needs a code of its own.")
    return ids


def _needed(labels: Mapping[str, Sequence[str]], grouped: Mapping[str, Sequence[Sequence[str]]]) -> int:
    """Codes of the first level, and never fewer than a group has members."""
    first = sum(len(grouped[field]) if field in grouped else len(names) for field, names in labels.items())
    return max(first, *(len(group) for parts in grouped.values() for group in parts), 0)


def _two_levels(parts: Sequence[Sequence[str]], free: Iterable[str], members: Sequence[str]) -> dict[str, str]:
    """Groups take from what is free; within its group a code means that group's label alone."""
    return {
        label: f"{group}{LEVELS}{member}"
        for names, group in zip(parts, free, strict=False)
        for label, member in zip(names, members, strict=False)
    }


def _even(labels: Sequence[str]) -> list[list[str]]:
    """As few parts of at most 16 as there can be, equally long but for one label."""
    many = -(-len(labels) // MOST)
    ends = [len(labels) * at // many for at in range(many + 1)]
    return [list(labels[start:end]) for start, end in pairwise(ends)]
