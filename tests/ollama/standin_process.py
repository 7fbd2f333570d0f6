"""The stand-in as a process of its own, with the demo's two llms, to be killed, frozen and spoiled.

The programs that run it add what is wrong with it: tests/chaos/engine.py and tests/faults/spoiled.py.
"""

import threading
from pathlib import Path

from standin import Standin, serve

from service.settings import DEMO_LLMS
from workers.engines.llamacpp import CONTEXT


def run(kind: type[Standin], port: int, folder: Path) -> None:
    """Until somebody ends the process; `folder` takes what is uploaded."""
    standin = kind(version="0.24.0", folder=folder)
    for name in ("primary", "fallback"):
        standin.add(f"triage-{name}", DEMO_LLMS / f"{name}.gguf", num_ctx=CONTEXT)
    with serve(standin, port):
        threading.Event().wait()
