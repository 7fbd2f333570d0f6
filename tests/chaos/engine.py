"""The llms as a process of their own, to be killed and frozen: the stand-in of an Ollama, with the demo's two.

`python engine.py PORT FOLDER`, started by parts.py with tests/ollama on its path.
"""

import sys
from pathlib import Path
from typing import Any

from orders import POISON
from standin import Standin
from standin_process import run


class Poisoned(Standin):
    """Answers a poisoned prompt without a score, which is that ticket's own failure."""

    def generate(self, request: dict[str, Any], caller: Any) -> Any:
        answer = super().generate(request, caller)
        if POISON in request.get("prompt", ""):
            answer.pop("logprobs", None)
        self.requests.clear()
        return answer


if __name__ == "__main__":
    run(Poisoned, int(sys.argv[1]), Path(sys.argv[2]))
