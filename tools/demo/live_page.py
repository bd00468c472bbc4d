"""Live page: pictures of a running drive in any browser on this machine."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

_HOST = '127.0.0.1'
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
        self._server = ThreadingHTTPServer((_HOST, port), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self.url = f'http://{_HOST}:{self._server.server_address[1]}/'
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

    def _wait(self, after: int) -> int:
        """Wait for a picture newer than number `after`; its number, or -1 at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > after or not self._open)
            return self._number if self._open else -1

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        """Send picture after picture as one endless response, which browsers show as a film."""
        request.send_response(HTTPStatus.OK)
        request.send_header('Content-Type', f'multipart/x-mixed-replace; boundary={_BOUNDARY}')
        request.end_headers()
        self.viewers += 1
        try:
            number = self._wait(0)
            while number >= 0:
                picture = self._picture
                head = f'--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: '
                request.wfile.write(f'{head}{len(picture)}\r\n\r\n'.encode() + picture + b'\r\n')
                number = self._wait(number)
        except OSError:
            pass  # the viewer has closed the page
        finally:
            self.viewers -= 1

    def _handler(self) -> Any:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == '/stream':
                    page._stream(self)
                    return
                self.send_response(HTTPStatus.OK if self.path == '/' else HTTPStatus.NOT_FOUND)
                self.send_header('Content-Type', 'text/html')
                self.end_headers()
                if self.path == '/':
                    self.wfile.write(_PAGE)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the terminal free."""

        return Handler
