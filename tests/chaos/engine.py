"""The llms as a process of their own, to be killed and frozen: the stand-in of an Ollama, with the demo's two.

`python engine.py PORT FOLDER`, started by parts.py with tests/ollama on its path.
"""

import sys
import threading
from pathlib import Path
from typing import Any

from orders import POISON
from standin import Standin, serve

from service.settings import DEMO_LLMS
from workers.engines.llamacpp import CONTEXT


class Poisoned(Standin):
    """Answers a poisoned prompt without a score, which is that ticket's own failure."""

    def generate(self, request: dict[str, Any], caller: Any) -> Any:
        answer = super().generate(request, caller)
        if POISON in request.get("prompt", ""):
            answer.pop("logprobs", None)
        self.requests.clear()
        return answer


def main(port: int, folder: Path) -> None:
    standin = Poisoned(version="0.24.0", folder=folder)
    for name in ("primary", "fallback"):
        standin.add(f"triage-{name}", DEMO_LLMS / f"{name}.gguf", num_ctx=CONTEXT)
    with serve(standin, port):
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
