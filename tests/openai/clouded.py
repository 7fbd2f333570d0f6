"""Makes the llms of a triage.yaml with a cloud, and drains over them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cards import write_card
from cloud import Cloud
from serving import with_policy
from sqlalchemy import Engine

from service.config import Config
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms

PRICE = {"input": 1000.0, "output": 2000.0}


@dataclass
class Clouded:
    """By `form` the cards say how they are asked."""

    cloud: Cloud
    loaded: Loaded
    database: Engine
    folder: Path
    made: list[Any]

    def llms(self, *, form: str = "completions", **engine: Any) -> Llms:
        models = {"primary": "first", "fallback": "second"}
        config = self.loaded.config.model_dump() | {
            "engines": {"cloud": {"kind": "openai", "url": self.cloud.url, "parallel": 2} | engine},
            "llms": {
                name: {"engine": "cloud", "model": model, "card": self._card(name, f"{model}/{form}"), "price": PRICE}
                for name, model in models.items()
            },
        }
        found = self.loaded.model_copy(update={"config": Config.model_validate(config), "folder": self.folder})
        llms = Llms(found, found.config.asked, self.folder)
        self.made.append(llms)
        return llms

    def _card(self, name: str, served: str) -> str:
        return write_card(self.folder, name, served=[served])

    def limited(self, limit: float) -> Llms:
        """Loaded, with a limit for what comes after."""
        llms = self.llms(spend_limit_per_day=100.0)
        assert llms.load(), [llm.error for llm in llms.all.values()]
        (spend,) = llms.spends
        spend.limit, spend._not_in_tables = limit, 0.0
        return llms

    def drain(self, llms: Llms, **policy: Any) -> Drain:
        assert llms.load(), [llm.error for llm in llms.all.values()]
        return Drain(self.database, llms, with_policy(self.loaded.config, **policy), 2)
