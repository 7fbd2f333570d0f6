"""Prepared text + field -> prompt. The only place where a prompt is made, in training as in serving.

Called by workers and finetune. Published files in prompts/ never change: a new wording is a new version.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from models.errors import ConfigError
from models.llm.text import neutralise

# The tiny llms read lower case, which leaves every upper-case token free to be a code.
_LOWER_CASE = {"tuned-1"}
# Below the frame of an instruct prompt stand its two questions: for a code or a group, and for a code within a group.
_SECTION = "\n---\n"


@dataclass(frozen=True)
class _Template:
    """One published file: what comes before the ticket, between ticket and question, and after the question."""

    before: str
    between: str
    after: str
    questions: tuple[str, ...]


def render(prepared_text: str, field: str, prompt_version: str, header: str = "", group: str = "") -> str:
    """The prompt for one field: fixed header, ticket, question, in this order so that a second field reuses the prefix.

    `header` is what an instruct prompt says of all fields and their codes; `group` asks for a code within that group.
    The ticket is neutralised here once more, last of all. Raises ConfigError for an unknown version.
    """
    template = _template(prompt_version)
    ticket = prepared_text.lower() if prompt_version in _LOWER_CASE else prepared_text
    question = template.questions[-1 if group else 0].replace("{group}", group).replace("{field}", field)
    return (
        template.before.replace("{header}", header) + neutralise(ticket) + template.between + question + template.after
    )


@cache
def _template(prompt_version: str) -> _Template:
    source = files("models.llm") / "prompts" / f"{prompt_version}.txt"
    if not source.is_file():
        raise ConfigError(
            f"There is no prompt version {prompt_version!r}: models/llm/prompts holds the published ones."
        )
    frame, *questions = source.read_text(encoding="utf-8").removesuffix("\n").split(_SECTION)
    before, rest = frame.split("{ticket}")
    between, after = rest.split("{question}" if questions else "{field}")
    return _Template(before, between, after, tuple(questions) or ("{field}",))
