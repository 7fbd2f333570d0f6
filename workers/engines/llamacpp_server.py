"""One GGUF in memory, in this process: an xllamacpp server on a private unix socket. Used by `llamacpp`."""

import http.client
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before the import: OpenMP threads that spin at their barriers starve a busy machine (20 times slower, measured).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import xllamacpp

from models.errors import EngineDown, EngineError, PromptTooLong, TicketRejected

VERSION = str(xllamacpp.__version__)
# Lifts every code above every other token without losing float32 precision.
BIAS = 100.0
_TOKENIZE_S = 60.0


class Server:
    """`context` is what each of the `parallel` slots holds. Raises EngineDown when the file cannot be loaded."""

    def __init__(self, gguf: Path, path: Path, *, parallel: int, threads: int, context: int):
        if not gguf.is_file():
            raise EngineDown(f"There is no GGUF file at {gguf}.")
        self.gguf, self.context, self._socket = gguf, context, path
        try:
            self._server = xllamacpp.Server(_parameters(gguf, path, parallel, threads, context))
        except RuntimeError as error:
            raise EngineDown(f"llama.cpp could not load {gguf.name}: {error}.") from error
        # A server that is dropped before its loop runs never ends, with the GIL held; an answer proves that it runs.
        self.complete("", [], n_probs=1)

    def complete(self, prompt: str, tokens: Sequence[int], **options: object) -> dict[str, Any]:
        """One token after the prompt, one of `tokens` if there are any."""
        request = {
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 1.0,
            "samplers": [],
            "cache_prompt": True,
            "logit_bias": [[id_, BIAS] for id_ in tokens],
            **options,
        }
        try:
            reply: dict[str, Any] = self._server.handle_completions(request)
        except TypeError as error:
            raise TicketRejected(f"llama.cpp cannot read the prompt: {error}.") from error
        if "error" in reply:
            raise _refusal(reply["error"])
        return reply

    def tokenize(self, text: str, *, begin: bool = False) -> list[int]:
        """Asks the server's own tokenizer, which reads control tokens in a text just as a completion does."""
        body = json.dumps({"content": text, "add_special": begin, "parse_special": True})
        connection = http.client.HTTPConnection("localhost")
        try:
            with socket.socket(socket.AF_UNIX) as connection.sock:
                connection.sock.settimeout(_TOKENIZE_S)
                connection.sock.connect(str(self._socket))
                connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
                tokens: list[int] = json.loads(connection.getresponse().read())["tokens"]
        except TimeoutError:
            raise EngineDown("llama.cpp's tokenizer did not answer in time.") from None
        return tokens


def _parameters(gguf: Path, path: Path, parallel: int, threads: int, context: int) -> xllamacpp.CommonParams:
    p = xllamacpp.CommonParams()
    p.model.path = str(gguf)
    # A mapped file that someone overwrites or truncates kills this process with SIGBUS; copying loads as fast.
    p.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    p.hostnames = [str(path)]
    p.n_parallel = parallel
    p.n_ctx = context * parallel
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    p.n_gpu_layers = 0
    p.cache_ram_mib = 0
    p.warmup = p.fit_params = p.ui = False
    p.verbosity = 0
    return p


def _refusal(error: dict[str, Any]) -> EngineError:
    if error.get("type") == "exceed_context_size_error":
        return PromptTooLong(
            f"The prompt has {error['n_prompt_tokens']} tokens, the llm's context holds {error['n_ctx']}."
        )
    if error.get("code") == 503:
        return EngineDown(f"llama.cpp is not ready: {error.get('message')}.")
    return EngineError(f"llama.cpp failed: {error.get('message')}.")
