"""The stand-in of an Ollama as a process that does what a file says: answers well, late, not at all, or rubbish.

`python spoiled.py PORT FOLDER`, started by test_engine_faults.py with tests/ollama on its path.
"""

import itertools
import math
import sys
from pathlib import Path
from typing import Any

from standin import Standin
from standin_process import run
from weights import Refused

MODE = "mode"  # the file's name; it holds one of these
WELL, SLOW, STUCK, RUBBISH = "well", "slow", "stuck", "rubbish"
SLOW_S = 0.5


def listing(*entries: dict[str, Any]) -> dict[str, Any]:
    """The part of an answer that lists these tokens."""
    return {"logprobs": [{"token": "x", "logprob": -0.1, "top_logprobs": list(entries)}]}


def without_an_end(answer: dict[str, Any]) -> dict[str, Any]:
    listed = [entry | {"logprob": math.nan} for token in answer["logprobs"] for entry in token["top_logprobs"]]
    return answer | listing(*listed)


def refused_in_bytes(_: dict[str, Any]) -> dict[str, Any]:
    raise Refused(400, b"\x00\x01\x02\xff")


KINDS = (
    refused_in_bytes,
    lambda answer: answer | listing({"token": "A", "logprob": 10**400}),
    lambda answer: answer | {"logprobs": []},
    lambda answer: answer | listing({"token": "no label of ours", "logprob": -0.1}),
    without_an_end,
    lambda answer: answer | listing({"text": "another form"}),
    lambda _: "<html>Bad gateway</html>",
)


class Spoiled(Standin):
    """Each request for a token is answered as the file says at its beginning; rubbish of every kind by turns."""

    numbers = itertools.count()

    def generate(self, request: dict[str, Any], caller: Any) -> Any:
        mode = self._mode()
        if mode == SLOW:
            caller.stays(SLOW_S)
        while mode == STUCK and self._mode() == STUCK:
            caller.stays(0.02)
        answer = super().generate(request, caller)
        spoils = mode == RUBBISH and "logprobs" in answer
        return KINDS[next(self.numbers) % len(KINDS)](answer) if spoils else answer

    def _mode(self) -> str:
        assert self.folder is not None
        return (self.folder / MODE).read_text()


if __name__ == "__main__":
    run(Spoiled, int(sys.argv[1]), Path(sys.argv[2]))
