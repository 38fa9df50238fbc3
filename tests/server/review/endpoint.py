"""An endpoint with the contract of chat completions, as a process of its own: what it answers follows from the model.

python -m tests.server.review.endpoint     prints its port, serves until it is ended; GET /asked lists what it was asked
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NEVER = threading.Event()
ASKED: list[dict[str, Any]] = []
ANSWERS = {
    "good": "Stop, curb ahead.",
    "quoted": ' "Stop, kerb ahead" ',
    "none": "NONE",
    "order": "Walk on, it is safe.",
    "clear": "Continue straight, path is clear.",
    "chatty": "Sure! Here is the sentence you asked for: Stop, curb ahead. Let me know if I can help you further." * 3,
    "empty": "",
}


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, json.dumps(ASKED).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ASKED.append({"path": self.path, "key": self.headers.get("authorization", ""), **body})
        model, times = body["model"], sum(one["model"] == body["model"] for one in ASKED)
        match model:
            case "busy" if times == 1:
                self._send(429, b"{}", retry_after="3")
            case "always busy" | "down":
                self._send(429 if model == "always busy" else 500, b"oops")
            case "no key":
                self._send(401, b"{}")
            case "hang":
                NEVER.wait(60)
            case "drip":
                self._drip()
            case "huge":
                self._send(200, b'{"choices": "' + b"x" * 1_000_000 + b'"}')
            case "no json":
                self._send(200, b"<html>hello</html>")
            case "deep":
                self._send(200, b"[" * 60_000)
            case "shape":
                self._send(200, b'{"choices": [{"message": {"content": 5}}]}')
            case "bad request":
                self._send(400, b"{}")
            case "elsewhere":
                self.send_response(302)
                self.send_header("location", "/v1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()
            case "obeys":
                self._answer(model, json.loads(body["messages"][1]["content"]).partition("say: ")[2])
            case _:
                self._answer(model, ANSWERS.get(model, "Stop, curb ahead."))

    def _answer(self, model: str, text: str) -> None:
        value = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": f"{model}-0125",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 70, "completion_tokens": 7, "total_tokens": 77},
        }
        self._send(200, json.dumps(value).encode())

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        while True:
            self.wfile.write(b" ")
            self.wfile.flush()
            NEVER.wait(0.1)

    def _send(self, status: int, body: bytes, *, retry_after: str = "") -> None:
        self.send_response(status)
        if retry_after:
            self.send_header("retry-after", retry_after)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()
