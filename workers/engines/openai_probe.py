"""In which form a server of OpenAI's API can be asked: it is tried, since no server says so. Used by `openai`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.errors import ConfigError, EngineDown, EngineError
from models.llm.card import Card
from models.llm.prompt import render
from workers.engines.openai_forms import FORMS, Completions, Form
from workers.engines.openai_http import NotOffered
from workers.engines.openai_usage import tokens
from workers.engines.tokens import single

# What a path gives that is not there, or a model.
GONE = (404, 405)


class Probe:
    """Finds the form for each llm of one server. `send` sends a request for an llm in a form."""

    def __init__(self, url: str, send: Callable[[str, Form, dict[str, Any]], dict[str, Any]], parallel: int):
        self._url, self._send, self._parallel = url, send, parallel
        # Where the search goes on after a pause: begun anew, it would run into the next one.
        self._next_form: dict[str, int] = {}

    def form(self, card: Card, model: str) -> tuple[Form, dict[str, Any]]:
        """The first form that the server really answers, and that answer. Some take a request and leave out half."""
        name, labels = next(iter(card.codes.items()))
        prompt = render("warm", name, card.prompt_version, card.header)
        gone: set[str] = set()
        forms = _fitting(card)
        while (at := self._next_form.get(card.name, 0)) < len(forms):
            form = forms[at]
            try:
                if form.path not in gone:
                    reply = self._send(card.name, form, form.request(model, prompt, labels))
                    form.read(reply)
                    if isinstance(form, Completions):
                        self._require_tokens(card, model, form)
                    self._next_form.pop(card.name, None)
                    return form, reply
            except EngineDown:
                raise
            except EngineError as error:
                if isinstance(error, NotOffered) and error.refused in GONE:
                    gone.add(form.path)
            self._next_form[card.name] = at + 1
        del self._next_form[card.name]
        raise ConfigError(
            f"{self._url} gives {model!r} neither log-probabilities nor an answer held to a list of labels: "
            "use another model or server."
        )

    def _require_tokens(self, card: Card, model: str, form: Form) -> None:
        """No tokenizer can be asked, but tokens are counted: a code must be as long as a letter, which is one."""
        codes = sorted(single(card))
        with ThreadPoolExecutor(self._parallel) as pool:
            asked = pool.map(lambda text: self._send(card.name, form, form.request(model, text, ())), ["a", *codes])
            letter, *counts = [tokens(reply, "prompt_tokens") for reply in asked]
        for code, count in zip(codes, counts, strict=True):
            if letter is not None and count is not None and count != letter:
                many = count - letter + 1
                raise ConfigError(f"The code {code!r} is {many} tokens in this llm: a code must be exactly one.")


def _fitting(card: Card) -> list[Form]:
    """A prompt with the marks of a turn must be taken as it is; one without needs a server that puts them around it."""
    if not card.header:
        return list(FORMS)
    return [form for form in FORMS if isinstance(form, Completions) == (card.family != "plain")]
