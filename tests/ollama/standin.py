"""An Ollama to test against: HTTP as recorded from two real ones, answers from real GGUFs, faults on demand.

It serves what Triage calls: /api/version, tags, ps, show, blobs, create, pull, delete, generate. No chat, no `format`.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standin_http import Handler
from weights import Refused, Weights

NOW = "2026-11-21T15:10:31.771641538Z"
EMPTY = {"model": "", "created_at": "0001-01-01T00:00:00Z", "response": "", "done": False}
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
BUSY = "server busy, please try again.  maximum pending requests exceeded"
# By fault, what no row can hold: a status, and its body or the sentence in it.
UNSTORABLE: dict[str, tuple[int, str | bytes]] = {
    "binary": (500, b"\x00\x01\x02\xff"),
    "nul": (400, "no \0 here"),
    "half": (500, "half a character: \ud800"),
}

HUGE = {
    "prompt_eval_count": 3_000_000_000,
    "prompt_eval_cached_count": 3_000_000_000,
    "load_duration": 10**400,
    "eval_duration": -(10**400),
}


@dataclass
class Model:
    """A name in Ollama: a GGUF with parameters. `digest` names both, `blob` the file as the server keeps it."""

    gguf: Path
    parameters: dict[str, Any]
    blob: str
    digest: str


@dataclass
class Fault:
    """What goes wrong with a prompt: stopped, busy, stall, drip, no_logprobs, empty, huge, an UNSTORABLE one, a status.

    `times` None is until cleared; a status comes with `retry_after`, if there is one.
    """

    mode: str
    model: str | None = None
    times: int | None = None
    retry_after: str | None = None


@dataclass
class Standin:
    """The state of one server. `load_s` is how long a load takes, `says` a version other than the one it acts like.

    `requests` are those to generate, `shown` whether each look at a model was for its vocabulary too.
    """

    version: str = "0.32.15"
    says: str | None = None
    parallel: int = 4
    room: int = 3
    load_s: float = 0.0
    folder: Path | None = None
    url: str = ""
    models: dict[str, Model] = field(default_factory=dict)
    registry: dict[str, Path] = field(default_factory=dict)
    resident: dict[str, Weights] = field(default_factory=dict)
    fault: Fault | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def old(self) -> bool:
        return tuple(map(int, self.version.split("."))) < (0, 30)

    def add(self, name: str, gguf: Path, **parameters: Any) -> Model:
        """What `ollama create` does: the older versions keep the file, the newer ones write it anew."""
        sha = hashlib.sha256(gguf.read_bytes()).hexdigest()
        blob = sha if self.old else hashlib.sha256(f"rewritten {sha}".encode()).hexdigest()
        manifest = json.dumps([blob, parameters], sort_keys=True)
        model = Model(gguf, parameters, blob, hashlib.sha256(manifest.encode()).hexdigest())
        with self.lock:
            self.models[tagged(name)] = model
        return model

    def unload(self, name: str) -> None:
        with self.lock:
            for digest, weights in list(self.resident.items()):
                if weights.name == tagged(name):
                    self.resident.pop(digest).close()

    def find(self, name: str) -> Model:
        with self.lock:
            if tagged(name) not in self.models:
                raise Refused(404, f"model '{name}' not found")
            return self.models[tagged(name)]

    def generate(self, request: dict[str, Any], caller: Handler) -> Any:
        """POST /api/generate, with the fault that is asked for."""
        with self._counted(request):
            self.find(request.get("model", ""))
            _check(request)
            name = tagged(request["model"])
            if request.get("keep_alive") == 0:
                self.unload(name)
                return self._plain(request) | {"done_reason": "unload"}
            weights = self._load(name, caller)
            if not request.get("prompt"):
                return self._plain(request) | {"done_reason": "load"}
            mode = self._take_fault(name)
            answer = self._broken(mode, caller) or self._answered(request, weights)
            return answer | HUGE if mode == "huge" else answer

    @contextmanager
    def _counted(self, request: dict[str, Any]) -> Iterator[None]:
        with self.lock:
            self.requests.append(request)
            self.in_flight += bool(request.get("prompt"))
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            with self.lock:
                self.in_flight -= bool(request.get("prompt"))

    def _plain(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"model": request["model"], "created_at": NOW, "response": "", "done": True}

    def _load(self, name: str, caller: Handler) -> Weights:
        """Loads at the caller's wish, and not if the caller leaves before it is done; others may have to go."""
        with self.loading:
            model = self.models[name]
            if model.digest not in self.resident:
                caller.stays(self.load_s)
                context = model.parameters.get("num_ctx", 4096)
                weights = Weights(name, model.gguf, context, self.parallel, old=self.old)
                while len(self.resident) >= self.room:
                    self.unload(next(iter(self.resident.values())).name)
                self.resident[model.digest] = weights
            return self.resident[model.digest]

    def _take_fault(self, name: str) -> str | None:
        with self.lock:
            fault = self.fault
            if fault is None or (fault.model and tagged(fault.model) != name) or fault.times == 0:
                return None
            if fault.times is not None:
                fault.times -= 1
            return fault.mode

    def _broken(self, mode: str | None, caller: Handler) -> dict[str, Any] | None:
        if mode is not None and mode.isdigit():
            raise Refused(int(mode), "<html>not Ollama</html>")
        if mode in UNSTORABLE:
            raise Refused(*UNSTORABLE[mode])
        if mode == "stopped":
            raise Refused(500, STOPPED)
        if mode == "busy":
            raise Refused(503, BUSY)
        if mode == "stall":
            caller.stays(3600)
        if mode == "drip":
            caller.drips()
        caller.without_logprobs = mode == "no_logprobs"
        return dict(EMPTY) if mode == "empty" else None

    def _answered(self, request: dict[str, Any], weights: Weights) -> dict[str, Any]:
        started = time.perf_counter_ns()
        answer = self._plain(request) | weights.generate(request)
        took = time.perf_counter_ns() - started
        known = answer.get("prompt_eval_duration", 0) + answer.get("eval_duration", 0)
        return answer | {"total_duration": took, "load_duration": max(1, (took - known) // 2)}


def tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _check(request: dict[str, Any]) -> None:
    """What Ollama refuses before it looks at the model's weights."""
    if not 0 <= request.get("top_logprobs", 0) <= 20:
        raise Refused(400, "top_logprobs must be between 0 and 20")
    if isinstance(request.get("options", {}).get("temperature", 0), str):
        raise Refused(500, 'option "temperature" must be of type float32')
    form = request.get("format")
    if form is not None and form != "json" and not isinstance(form, dict):
        said = json.dumps(json.dumps(form))
        raise Refused(500, f'invalid format: {said}; expected "json" or a valid JSON Schema object')


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Hundreds of callers may come at once.
    request_queue_size = 1024


@contextmanager
def ollama(folder: Path, **settings: Any) -> Iterator[Standin]:
    """A running stand-in on a free port of loopback; `folder` takes what is uploaded."""
    with serve(Standin(folder=folder, **settings)) as standin:
        yield standin


@contextmanager
def serve(standin: Standin, port: int = 0) -> Iterator[Standin]:
    """The same with a stand-in that is made already, and a port if it must be this one."""
    server = _Server(("127.0.0.1", port), Handler)
    server.standin = standin  # type: ignore[attr-defined]
    standin.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for weights in list(standin.resident.values()):
            standin.unload(weights.name)
