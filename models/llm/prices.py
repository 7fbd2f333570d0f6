"""What a model in a cloud costs: prices.yaml, which is dated. Called by workers."""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models import yamlfile

FILE = Path(__file__).with_name("prices.yaml")
MILLION = 1_000_000


class Price(BaseModel):
    """What a million tokens cost: read, and written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]

    def of(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """What one call cost; None when the server does not say how many tokens it was."""
        if prompt_tokens is None or completion_tokens is None:
            return None
        return (prompt_tokens * self.input + completion_tokens * self.output) / MILLION


class Prices(BaseModel):
    """The file: from when, in which currency, and from whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: date
    currency: str
    source: str
    models: dict[str, Price]


@cache
def published() -> Prices:
    """The prices that come with Triage."""
    return yamlfile.read(FILE, Prices)
