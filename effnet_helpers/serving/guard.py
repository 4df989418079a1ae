"""What the page's server refuses, whatever stands behind it: other routes, other hosts, other files, too much.

Gradio's server offers much that this page does not need: it fetches addresses that it is given, keeps runs, records,
edits code. So requests are admitted by a list, and what is not on it does not exist.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from effnet_helpers.serving.answers import MAX_BYTES, too_large

Scope, Message = MutableMapping[str, Any], MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
FILE, UPLOAD, JOIN = f"{API}/file=", f"{API}/upload", f"{API}/queue/join"
READ = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/(static|assets)/(?!.*\.\.)[\w./@-]+|{API}/(startup-events|theme\.css|queue/data"
    rf"|upload_progress|heartbeat/\w+|file=.+)"
)
WRITE = re.compile(rf"{UPLOAD}|{JOIN}|{API}/(cancel|reset/?)")
FRAME, QUESTION = 100_000, 20_000  # bytes around a file that is uploaded, and of what else is sent
HELD = 5 * MAX_BYTES  # of pictures in the folder
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' "
    "blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,  # so that no browser loads anything from elsewhere, or sends it there
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """Stands before an ASGI application and admits only what the page needs.

    Attributes:
        app: The application.
        folder: The only one whose files are served, where uploaded pictures lie.
        host: What it listens at.
    """

    def __init__(self, app: App, folder: Path, host: str) -> None:
        self.app = app
        self.folder = folder.resolve()
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or lets the application do so."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no page of ours opens a web socket

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                stays = scope["path"].startswith(("/assets/", "/static/"))  # and pictures do not
                headers = HEADERS if stays else HEADERS | {"cache-control": "no-store"}
                named = {name.encode(): value.encode() for name, value in headers.items()}
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in named]
                message = {**message, "headers": [*kept, *named.items()]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None and scope["method"] == "POST":
            limit = MAX_BYTES + FRAME if scope["path"] == UPLOAD else QUESTION
            if scope["path"] == JOIN:
                body = await _whole(receive, limit)
                refusal = (413, "This is too much.") if body is None else self._refusal_of_question(body)
                receive = _again(body or b"", receive)
            else:
                receive = _bounded(receive, limit)
        if refusal is not None:
            return await _answer(send_with_headers, *refusal)
        return await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        # A page from elsewhere, whose name was made to lead here, or that sends here what its reader did not ask for.
        if (_split(f"//{host}").hostname or "") != self.host.lower() and not is_own_name(host):
            return 403, f"This page is not served under the name {host!r}."
        if origin is not None and _split(origin).netloc != host:
            return 403, "Only this page itself may ask."
        method, path = scope["method"], scope["path"]
        known = READ if method in ("GET", "HEAD") else WRITE if method == "POST" else None
        if known is None or not known.fullmatch(path):
            return 404, "There is nothing here."
        if path.startswith(FILE) and not self._is_held(path.removeprefix(FILE)):
            return 404, "There is nothing here."
        if path == UPLOAD:
            size = headers.get("content-length", "")
            if size.isdecimal() and int(size) > MAX_BYTES + FRAME:
                return 413, too_large(int(size))
            if sum(_sizes(self.folder)) > HELD:
                return 503, "Too many pictures at a time: try again in a minute."
        return None

    def _refusal_of_question(self, body: bytes) -> tuple[int, str] | None:
        try:
            paths = list(_named("path", json.loads(body)))
        except (ValueError, RecursionError):  # no JSON, or lists in lists without an end
            return 400, "This is no question."
        if all(isinstance(path, str) and self._is_held(path) for path in paths):
            return None
        return 403, "Only a picture that was sent here can be looked at."

    def _is_held(self, path: str) -> bool:
        """Whether a path is that of an uploaded file, and says so in the plainest way."""
        if "\0" in path or unquote(path) != path:
            return False
        file = Path(path)
        return file.is_absolute() and file.resolve() == file and self.folder in file.parents and file.is_file()


def is_own_name(host: str) -> bool:
    """Whether a browser that asks for this host means this computer: an address, localhost, or the computer's name."""
    name = _split(f"//{host}").hostname or ""
    own = socket.gethostname().lower()
    if name in {"localhost", own, own.partition(".")[0], f"{own.partition('.')[0]}.local"} - {""}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # such as "["
        return urlsplit("")


def _sizes(folder: Path) -> Iterator[int]:
    """Yields the sizes of files that may be deleted meanwhile, which `rglob` does not forgive."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield os.stat(os.path.join(place, name)).st_size


def _named(key: str, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (each for name, each in value.items() if name == key)
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _named(key, each)


async def _whole(receive: Receive, limit: int) -> bytes | None:
    body, more = b"", True
    while more and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body if len(body) <= limit else None


def _again(body: bytes, receive: Receive) -> Receive:
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def first_the_body() -> Message:
        return next(parts, None) or await receive()

    return first_the_body


def _bounded(receive: Receive, limit: int) -> Receive:
    """Lets no more than so many bytes of a body through; a sender who does not stop is as one who left."""
    left = limit

    async def at_most() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return at_most


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
