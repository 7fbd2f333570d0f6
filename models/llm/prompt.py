"""Prepared text + field -> prompt. The only place where a prompt is made, in training as in serving.

Called by workers and finetune. Published files in prompts/ never change: a new wording is a new version.
"""

from functools import cache
from importlib.resources import files

from models.errors import ConfigError
from models.llm.text import neutralise

# The tiny llms read lower case, which leaves every upper-case token free to be a code.
_LOWER_CASE = {"tuned-1"}


def render(prepared_text: str, field: str, prompt_version: str) -> str:
    """The prompt for one field: fixed header, ticket, question, in this order so that a second field reuses the prefix.

    The ticket is neutralised here once more, last of all. Raises ConfigError for an unknown version.
    """
    header, between, end = _template(prompt_version)
    ticket = prepared_text.lower() if prompt_version in _LOWER_CASE else prepared_text
    return header + neutralise(ticket) + between + field + end


@cache
def _template(prompt_version: str) -> tuple[str, str, str]:
    source = files("models.llm") / "prompts" / f"{prompt_version}.txt"
    if not source.is_file():
        raise ConfigError(
            f"There is no prompt version {prompt_version!r}: models/llm/prompts holds the published ones."
        )
    header, rest = source.read_text(encoding="utf-8").removesuffix("\n").split("{ticket}")
    between, end = rest.split("{field}")
    return header, between, end
