# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Live page: pictures of a running drive in any browser on this machine."""

from __future__ import annotations

import io
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Condition, Thread
from time import monotonic
from typing import Any, Optional

CONNECTIONS = 16
"""At most at once, each with a thread; further ones are closed at once."""

REQUEST_TIME = 5.0
"""Seconds that a browser has for its whole request, and for taking each picture."""

_HOST = '127.0.0.1'
_NAMES = (_HOST, 'localhost')
_BOUNDARY = 'picture'

_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>segformer_ros</title>
<style>
  body { margin: 0; background: #111; display: grid; place-items: center; height: 100vh }
  img { max-width: 100vw; max-height: 100vh; width: 100%; object-fit: contain }
</style>
<img src="stream" alt="the newest overlay">
</html>
"""


class LivePage:
    """Serves the newest picture as a page, from a thread of its own; a context manager.

    port: 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._changed = Condition()
        self._picture = b''
        self._number = 0
        self._open = True
        self._server = _Server((_HOST, port), self._handler())
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self.port = int(self._server.server_address[1])
        self.url = f'http://{_HOST}:{self.port}/'
        self.viewers = 0

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def show(self, jpeg: bytes) -> None:
        """Show a picture in place of the one before."""
        with self._changed:
            self._picture = jpeg
            self._number += 1
            self._changed.notify_all()

    def _wait(self, after: int) -> Optional[int]:
        """Wait for a picture newer than number `after`; the newest's number, None at the end.

        After a while it may be the same one again: only by writing it shows who has left.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > after or not self._open, REQUEST_TIME)
            return self._number if self._open else None

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        """Send picture after picture as one endless response, which browsers show as a film."""
        request.send_response(HTTPStatus.OK)
        request.send_header('Content-Type', f'multipart/x-mixed-replace; boundary={_BOUNDARY}')
        request.end_headers()
        with self._changed:
            self.viewers += 1
        try:
            number = self._wait(0)
            while number is not None:
                request.wfile.write(_part(self._picture) if number else b'\r\n')
                number = self._wait(number)
        except OSError:
            pass  # the viewer has closed the page, or does not read
        finally:
            with self._changed:
                self.viewers -= 1

    def _handler(self) -> Any:
        page = self

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_TIME

            def setup(self) -> None:
                super().setup()
                self.rfile = io.BufferedReader(_Hasty(self.connection))

            def do_GET(self) -> None:
                if not _is_here(self.headers.get('Host', ''), page.port):
                    self._answer(HTTPStatus.MISDIRECTED_REQUEST)
                elif self.path == '/stream':
                    page._stream(self)
                elif self.path == '/':
                    self._answer(HTTPStatus.OK, _PAGE)
                else:
                    self._answer(HTTPStatus.NOT_FOUND)

            def _answer(self, status: HTTPStatus, content: bytes = b'') -> None:
                self.send_response(status)
                self.send_header('Content-Type', 'text/html')
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the terminal free."""

        return Handler


class _Server(ThreadingHTTPServer):
    """Has so many connections at most, and no word for those that break."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._free = BoundedSemaphore(CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the terminal free."""


class _Hasty(io.RawIOBase):
    """Reads a request, which must be there in REQUEST_TIME: a byte now and then is not enough."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end = monotonic() + REQUEST_TIME

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(max(0.001, self._end - monotonic()))
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(REQUEST_TIME)


def _part(picture: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n'
    return head.encode() + picture + b'\r\n'


def _is_here(host: str, port: int) -> bool:
    """Whether a page asks for this machine by its own name.

    A foreign page may have its own name point here, and would then read the pictures.
    """
    name, _, given = host.partition(':')
    return name.lower() in _NAMES and (not given or given == str(port))
