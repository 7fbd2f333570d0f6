"""Label <-> one-token code, per llm and field. Called by finetune (assign) and by engines (resolve). Pure.

Codes are ordinary tokens with an upper-case letter, which a lower-cased ticket can never contain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase

from models.errors import ConfigError

Codes = Mapping[str, Mapping[str, str]]


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
