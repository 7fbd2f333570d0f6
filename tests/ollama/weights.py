"""A GGUF as one Ollama model answers with it, through llama.cpp. Used by the stand-in."""

import itertools
import os
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

# Before the import, as in the engine: threads that spin at their barriers starve a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import httpx
import xllamacpp
from gguf import GGUFReader

TOO_LONG = "the input length exceeds the context length"
_numbers = itertools.count()


def vocabulary(gguf: Path) -> list[str]:
    """The tokens as the file has them."""
    field = GGUFReader(gguf).fields["tokenizer.ggml.tokens"]
    return [bytes(field.parts[at]).decode() for at in field.data]


class Refused(Exception):
    """An error answer: status and sentence, or a body of its own."""

    def __init__(self, status: int, error: str | bytes):
        super().__init__(error)
        self.status, self.error = status, error


class Weights:
    """One model in memory. `old` is the manner of the versions before 0.30; at most `parallel` requests run at once."""

    def __init__(self, name: str, gguf: Path, context: int, parallel: int, *, old: bool):
        self.name, self.size = name, gguf.stat().st_size
        self.context, self.old = context, old
        self.slots = threading.Semaphore(parallel)
        self.socket = Path(tempfile.gettempdir()) / f"standin-{os.getpid()}-{next(_numbers)}.sock"
        p = xllamacpp.CommonParams()
        p.model.path = str(gguf)
        p.hostnames = [str(self.socket)]
        p.n_parallel, p.n_ctx = parallel, context * parallel
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
        p.n_gpu_layers = p.cache_ram_mib = p.verbosity = 0
        p.warmup = p.fit_params = p.ui = False
        try:
            self.server = xllamacpp.Server(p)
        except RuntimeError as error:
            raise Refused(500, f"llama-server process has terminated: {error}") from None
        # Hundreds wait for its hundred connections: the default gives up after five seconds.
        way = httpx.HTTPTransport(uds=str(self.socket), verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self.tokenizer = httpx.Client(transport=way, timeout=600)
        self.server.handle_completions({"prompt": "a", "max_tokens": 1})

    def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """The part of Ollama's answer that comes from the weights."""
        options = request.get("options", {})
        wanted: dict[str, Any] = {
            "prompt": self._cut(request["prompt"], bool(request.get("truncate", True))),
            "max_tokens": options.get("num_predict", 128),
            "temperature": options.get("temperature", 0.8),
            "n_probs": request.get("top_logprobs", 0) if request.get("logprobs") else 0,
        }
        with self.slots:
            reply: dict[str, Any] = self.server.handle_completions(wanted)
        if "error" in reply:
            raise self._too_long(reply["error"])
        answer = self._answer(reply, bool(request.get("logprobs")))
        if self.old and answer["prompt_eval_count"] == self.context - 1:
            answer["prompt_eval_count"] = self.context
        return answer

    def close(self) -> None:
        self.tokenizer.close()
        del self.server
        self.socket.unlink(missing_ok=True)

    def _answer(self, reply: dict[str, Any], logprobs: bool) -> dict[str, Any]:
        choice, timings = reply["choices"][0], reply["timings"]
        answer = {
            "response": choice["text"],
            "done": True,
            "done_reason": choice["finish_reason"],
            "prompt_eval_count": reply["usage"]["prompt_tokens"],
            "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
            "eval_count": reply["usage"]["completion_tokens"],
        }
        # Both versions put a single token's time into the prompt's; the newer one rounds up to a microsecond.
        if answer["eval_count"] > 1 or not self.old:
            answer["eval_duration"] = int(max(timings["predicted_ms"], 0.001) * 1e6)
        tokens = (choice["logprobs"] or {}).get("content", []) if logprobs else []
        # A token without text is dropped on the way, and its log-probabilities with it.
        if shown := [_entry(token, top=True) for token in tokens if token["token"]]:
            answer["logprobs"] = shown
        return answer

    def _too_long(self, error: dict[str, Any]) -> Refused:
        if error.get("type") != "exceed_context_size_error":
            return Refused(500, str(error.get("message")))
        inside = ",".join(f'"{k}":{v}' if isinstance(v, int) else f'"{k}":"{v}"' for k, v in error.items())
        return Refused(400, '{"error":{' + inside + "}}")

    def _cut(self, prompt: str, truncate: bool) -> str | list[int]:
        """What Ollama does to a prompt that is too long, unless told not to: five tokens and the tail are left."""
        if len(prompt.encode(errors="replace")) < self.context // 2:
            return prompt  # a token has a byte at least
        body = {"content": prompt, "add_special": True, "parse_special": True}
        ids: list[int] = self.tokenizer.post("http://llama/tokenize", json=body).json()["tokens"]
        if self.old and not truncate and len(ids) > self.context:
            raise Refused(400, TOO_LONG)
        if not truncate or len(ids) <= self.context - (not self.old):
            return ids
        # The older versions fill the whole context, where llama.cpp's own server wants room for one token more.
        room = self.context - 1 if self.old else self.context // 2 + 3
        return ids[:5] + ids[len(ids) - (room - 5) :]


def _entry(token: dict[str, Any], *, top: bool = False) -> dict[str, Any]:
    entry = {key: token[key] for key in ("token", "logprob", "bytes")}
    return entry | {"top_logprobs": [_entry(one) for one in token["top_logprobs"]]} if top else entry
