"""Whether one llm in Ollama does what Triage relies on: asked of the real server, a sentence for each. Called by `llm`.

Imported only by that command, because it needs the engine.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from models.errors import ConfigError, EngineError, TriageError
from models.llm import calibration
from models.llm.card import Card
from models.llm.codes import LEVELS
from models.llm.prompt import render
from service.cli.llm import confidence
from workers import calibrations
from workers.engines.ollama import Ollama, by_text
from workers.engines.ollama_http import OLDEST, TOP, Server, token_request
from workers.engines.tokens import spellings

LOAD_S, ASK_S = 600.0, 30.0


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    what: str
    ok: bool
    says: str


@dataclass(frozen=True)
class Check:
    """The llm as triage.yaml and its card describe it."""

    card: Card
    url: str
    model: str
    parallel: int
    server: Server

    def lines(self) -> Iterator[Line]:
        """Every check in order; when the llm cannot be loaded, none of those after it."""
        checks: dict[str, Callable[[], str]] = {
            "version": self.version,
            "load": self.load,
            "same at any temperature": self.temperature,
            "20 tokens, not 21": self.twenty,
            "too long is refused": self.too_long,
        }
        for what, check in checks.items():
            yield (line := _try(what, check))
            if not line.ok and what in ("version", "load"):
                return
            if what == "load":
                for field in self.card.codes:
                    yield _try(f"codes of {field}", partial(self.codes, field))

    def version(self) -> str:
        found = self.server.version()
        least = ".".join(map(str, OLDEST))
        return f"{found}, a build without a version: {least} is needed" if found == "0.0.0" else f"Ollama {found}"

    def load(self) -> str:
        """The engine's own loading: each code is one token, all slots warm, in memory, none pushed out."""
        engine = Ollama(self.url, {self.card.name: self.model}, parallel=self.parallel, load_s=LOAD_S)
        try:
            served = engine.load(self.card)
        finally:
            engine.close()
        counting, refused = calibrations.counting(self.card, served, engine)
        fits = {name: calibration.shown(counting.calibration.get(name), refused.get(name)) for name in self.card.codes}
        known = "the card's weights" if served.digest == self.card.digest else "weights that the card does not name"
        known = known if self.card.digest else "weights"
        return f"{self.model} holds {known} (digest {served.served[0][:12]}); {confidence.told(fits)}"

    def codes(self, field: str) -> str:
        """A label's own name as the ticket must bring a code of its field to the top."""
        codes = {label: code.partition(LEVELS)[0] for label, code in self.card.codes[field].items()}
        listed = self._listed(field, next(iter(codes)).replace("_", " "))
        known = spellings(self.card)
        found = {text: code for code in codes.values() for text in known[code] if text in listed}
        if max(listed, key=listed.__getitem__) not in found:
            why = "is its family in triage.yaml right?" if self.card.header else "they were not trained for the card."
            raise ConfigError(f"The likeliest token is no code of {field}, so these weights will not do: {why}")
        mass = math.fsum(math.exp(listed[text]) for text in found)
        many = f"{len(set(found.values()))} of {len(set(codes.values()))}"
        return f"{many} codes among the {TOP} likeliest tokens, together {mass:.3f}"

    def temperature(self) -> str:
        field = next(iter(self.card.codes))
        if self._listed(field, "hello") != self._listed(field, "hello", temperature=2.0):
            raise ConfigError("This Ollama scales log-probabilities by the temperature: calibrations would be wrong.")
        return "log-probabilities are those of the weights"

    def twenty(self) -> str:
        return self._refused(token_request(self.model, "hello") | {"top_logprobs": TOP + 1}, "400")

    def too_long(self) -> str:
        """Else Ollama would cut the instructions away and answer all the same."""
        return self._refused(token_request(self.model, "word " * 100_000), "more tokens")

    def _listed(self, field: str, text: str, **options: float) -> dict[str, float]:
        prompt = render(text, field, self.card.prompt_version, self.card.header)
        return by_text(self.server.generate(token_request(self.model, prompt, **options), ASK_S))

    def _refused(self, request: dict[str, object], why: str) -> str:
        try:
            self.server.generate(request, ASK_S)
        except EngineError as error:
            if why in error.message:
                return "refused, as it should be"
            raise
        raise ConfigError("This Ollama answered what it must refuse.")


def _try(what: str, check: Callable[[], str]) -> Line:
    try:
        return Line(what, True, check())
    except TriageError as error:
        return Line(what, False, error.message)
