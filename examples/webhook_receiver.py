"""A receiver of webhooks that keeps the rows of a view in SQLite. See docs/howto/receive-webhooks.md.

Example: KEHU_WEBHOOK_SECRET=whsec_… python -m examples.webhook_receiver risks.db --port 8085
"""

import argparse
import base64
import hmac
import json
import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from examples.kept_rows import SCHEMA, apply

OLDEST = 300.0
"""Seconds after which a message that was recorded by somebody else is refused."""
LARGEST = 16 * 1024 * 1024


def genuine(secret: str, headers: Any, body: bytes, now: float) -> bool:
    """Whether the message was signed with the secret, and just now; see the Standard Webhooks specification."""
    stamp = headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(now - int(stamp)) > OLDEST:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    right = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    # Several while a secret is replaced. Compared in constant time.
    return any(hmac.compare_digest(one, f"v1,{right}") for one in headers.get("webhook-signature", "").split(" "))


class Handler(BaseHTTPRequestHandler):
    """Answers 204 when the rows are saved, so that what was not saved comes again."""

    protocol_version = "HTTP/1.1"

    def __init__(self, secret: str, file: Path, *given: Any) -> None:
        self._secret, self._file = secret, file
        super().__init__(*given)

    def do_POST(self) -> None:
        """One message."""
        length = int(self.headers.get("content-length", 0))
        if length > LARGEST:
            self.close_connection = True
            self._answer(413)
            return
        body = self.rfile.read(length)
        if not genuine(self._secret, self.headers, body, time.time()):
            self._answer(401)
            return
        with closing(sqlite3.connect(self._file, timeout=10)) as db, db:  # one transaction
            apply(db, json.loads(body))
        self._answer(204)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a busy receiver has better things to write."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def main() -> None:
    """Receive until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m examples.webhook_receiver", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, default=8085)
    given = parser.parse_args()
    with closing(sqlite3.connect(given.file)) as db:
        db.executescript(SCHEMA)
    with HTTPServer(("127.0.0.1", given.port), partial(Handler, os.environ["KEHU_WEBHOOK_SECRET"], given.file)) as http:
        http.serve_forever()


if __name__ == "__main__":
    main()
