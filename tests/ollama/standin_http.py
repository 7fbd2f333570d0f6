"""The stand-in's HTTP: routes, streams, and noticing that a caller has left. Used by `standin`."""

import json
import select
import socket
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from weights import Refused, vocabulary

DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "2.23M",
    "quantization_level": "Q8_0",
}
# The shape of the demo's primary, in the words of a GGUF.
SHAPE = {
    "llama.block_count": 1,
    "llama.embedding_length": 32,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
}


class Left(Exception):
    """The caller is gone: nobody to answer."""


class Handler(BaseHTTPRequestHandler):
    """One connection. The server carries the stand-in."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet: sent apart, the second would wait 40 ms for the first one's receipt.
    wbufsize = 1 << 16
    without_logprobs = False

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""

    @property
    def standin(self) -> Any:
        return self.server.standin  # type: ignore[attr-defined]

    def stays(self, seconds: float) -> None:
        """Waits, unless the caller leaves before."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.connection], [], [], min(left, 0.02))[0]:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    raise Left
                time.sleep(0.02)

    def drips(self) -> None:
        """An answer that begins and is never over: a byte now and then, until the caller leaves."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while True:
            self.wfile.write(b" ")
            self.wfile.flush()
            self.stays(0.02)

    def do_GET(self) -> None:
        self._serve({"/": self._root, "/api/version": self._version, "/api/tags": self._tags, "/api/ps": self._ps})

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            self._serve({self.path: self._blob})
        else:
            posts = {"generate": self._generate, "show": self._show, "create": self._create, "pull": self._pull}
            self._serve({f"/api/{name}": route for name, route in posts.items()})

    def do_DELETE(self) -> None:
        self._serve({"/api/delete": self._delete})

    def _serve(self, routes: dict[str, Any]) -> None:
        self.content = self.rfile.read(int(self.headers.get("Content-Length", 0))) if self._sized() else self._chunks()
        try:
            route = routes.get(self.path)
            self._send(*((404, "404 page not found") if route is None else (200, route())))
        except Refused as refused:
            self._send(refused.status, refused.error if isinstance(refused.error, bytes) else {"error": refused.error})
        except (Left, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _sized(self) -> bool:
        return self.headers.get("Transfer-Encoding") != "chunked"

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _send(self, status: int, body: Any) -> None:
        if isinstance(body, str):
            kind, content = "text/plain", body.encode()
        elif isinstance(body, bytes):
            kind, content = "application/octet-stream", body
        elif isinstance(body, list):
            kind, content = "application/x-ndjson", b"".join(json.dumps(line).encode() + b"\n" for line in body)
        else:
            kind, content = "application/json; charset=utf-8", json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        fault = self.standin.fault
        if fault is not None and fault.mode == str(status) and fault.retry_after is not None:
            self.send_header("Retry-After", fault.retry_after)
        self.end_headers()
        self.wfile.write(content)

    def _json(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.content)
        except ValueError:
            said = chr(self.content[1]) if len(self.content) > 1 else ""
            raise Refused(400, f"invalid character '{said}' looking for beginning of object key string") from None
        return found

    def _root(self) -> str:
        return "Ollama is running"

    def _version(self) -> dict[str, Any]:
        return {"version": self.standin.says or self.standin.version}

    def _tags(self) -> dict[str, Any]:
        return {"models": [self._listed(name, model) for name, model in self.standin.models.items()]}

    def _listed(self, name: str, model: Any) -> dict[str, Any]:
        newer = {} if self.standin.old else {"context_length": 1024, "embedding_length": 256}
        entry = {"name": name, "model": name, "modified_at": "2026-11-21T15:10:31Z", "size": model.gguf.stat().st_size}
        entry |= {"digest": model.digest, "details": DETAILS | newer}
        return entry if self.standin.old else entry | {"capabilities": ["completion"]}

    def _ps(self) -> dict[str, Any]:
        with self.standin.lock:
            found = list(self.standin.resident.items())
        return {
            "models": [
                {
                    "name": weights.name,
                    "model": weights.name,
                    "size": weights.size,
                    "digest": digest,
                    "details": DETAILS,
                    "expires_at": "2319-03-03T14:57:48.910498306Z",
                    "size_vram": 0,
                    "context_length": weights.context,
                }
                for digest, weights in found
            ]
        }

    def _show(self) -> dict[str, Any]:
        wanted = self._json()
        name = wanted.get("model", "")
        self.standin.shown.append(bool(wanted.get("verbose")))
        try:
            model = self.standin.find(name)
        except Refused:
            raise Refused(404, f"model '{name}{'' if self.standin.old else ':latest'}' not found") from None
        lines = [f"PARAMETER {key} {value}" for key, value in sorted(model.parameters.items())]
        return {
            "modelfile": "\n".join(["# Modelfile", "", f"FROM /blobs/sha256-{model.blob}", "TEMPLATE x", *lines, ""]),
            "parameters": "\n".join(f"{key:30} {value}" for key, value in sorted(model.parameters.items())),
            "template": "{{ .Prompt }}",
            "details": DETAILS,
            "model_info": {"general.architecture": "llama"} | SHAPE | self._tokens(model, bool(wanted.get("verbose"))),
            "tensors": [],
            "capabilities": ["completion"],
            "modified_at": "2026-11-21T15:10:31Z",
        }

    def _tokens(self, model: Any, verbose: bool) -> dict[str, Any]:
        """A list is long, so it is null unless it is asked for."""
        tokens = vocabulary(model.gguf) if verbose else None
        return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": None, "tokenizer.ggml.tokens": tokens}

    def _blob(self) -> str:
        (self.standin.folder / self.path.rpartition(":")[2]).write_bytes(self.content)
        return ""

    def _create(self) -> Any:
        wanted = self._json()
        digest = next(iter(wanted["files"].values())).removeprefix("sha256:")
        gguf: Path = self.standin.folder / digest
        if not gguf.read_bytes().startswith(b"GGUF"):
            raise Refused(400, "invalid file magic")
        self.standin.add(wanted["model"], gguf, **wanted.get("parameters", {}))
        return self._progress(wanted, [{"status": "parsing GGUF"}, {"status": "writing manifest"}])

    def _pull(self) -> Any:
        wanted = self._json()
        source = self.standin.registry.get(wanted["model"])
        if source is None:
            raise Refused(500, "pull model manifest: file does not exist")
        self.standin.add(wanted["model"], source)
        size = source.stat().st_size
        half = {"status": "pulling 123", "digest": "sha256:123", "total": size, "completed": size // 2}
        return self._progress(wanted, [{"status": "pulling manifest"}, half, half | {"completed": size}])

    def _progress(self, wanted: dict[str, Any], steps: list[dict[str, Any]]) -> Any:
        success = {"status": "success"}
        return [*steps, success] if wanted.get("stream", True) else success

    def _delete(self) -> str:
        name = self._json()["model"]
        self.standin.find(name)
        with self.standin.lock:
            self.standin.unload(name)
            del self.standin.models[name if ":" in name else f"{name}:latest"]
        return ""

    def _generate(self) -> Any:
        request = self._json()
        answer = self.standin.generate(request, self)
        if self.without_logprobs:
            answer.pop("logprobs", None)
        if not request.get("stream", False) or not request.get("prompt"):
            return answer
        # Whatever the client asked to be streamed comes as one piece and a last line without text.
        first = {key: answer[key] for key in ("model", "created_at", "response", "logprobs") if key in answer}
        return [first | {"done": False}, {k: v for k, v in answer.items() if k != "logprobs"} | {"response": ""}]
