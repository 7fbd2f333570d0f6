"""Text as Postgres can hold it, as text and in JSON. Used by `errors`, by the engines and by what takes tickets."""

import re

BROKEN = re.compile("[\0\ud800-\udfff]")  # what JSON may carry and Postgres refuses
REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """The text with a sign in the place of each NUL and each half of a character."""
    return BROKEN.sub(REPLACEMENT, text)
