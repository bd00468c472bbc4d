# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The live page, asked as a browser asks it."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from tools.demo import live_page
from tools.demo.live_page import CONNECTIONS, LivePage


def wait_for_viewers(page: LivePage, count: int) -> None:
    """Wait until so many watch."""
    end = time.monotonic() + 60
    while page.viewers != count:
        assert time.monotonic() < end, f'{page.viewers} viewers'
        time.sleep(0.01)


def test_the_page_shows_the_stream() -> None:
    with LivePage() as page, urllib.request.urlopen(page.url) as response:
        assert b'src="stream"' in response.read()


def test_pictures_come_as_they_are_shown() -> None:
    with LivePage() as page, urllib.request.urlopen(f'{page.url}stream', timeout=60) as response:
        assert 'multipart/x-mixed-replace' in response.headers['Content-Type']
        wait_for_viewers(page, 1)
        for picture in (b'first', b'second'):
            page.show(picture)
            received = [response.readline() for _ in range(4)]
            assert received[2] == f'Content-Length: {len(picture)}\r\n'.encode()
            assert response.read(len(picture) + 2) == picture + b'\r\n'


def test_a_viewer_who_leaves_is_forgotten() -> None:
    with LivePage() as page:
        with urllib.request.urlopen(f'{page.url}stream', timeout=60):
            wait_for_viewers(page, 1)
        # Broken connections show when they are written to.
        for _ in range(100):
            page.show(bytes(100_000))
            time.sleep(0.01)
            if not page.viewers:
                break
        wait_for_viewers(page, 0)


def test_other_addresses_do_not_exist() -> None:
    with LivePage() as page, pytest.raises(urllib.error.HTTPError, match='404') as refused:
        urllib.request.urlopen(f'{page.url}etc/passwd')
    refused.value.close()


# --- Those who are no browsers ----------------------------------------------------------------


def connect(page: LivePage, sent: bytes = b'') -> socket.socket:
    """A connection that has sent something."""
    connection = socket.create_connection(('127.0.0.1', page.port), timeout=60)
    connection.sendall(sent)
    return connection


def answer(page: LivePage, request: str) -> bytes:
    """All that comes back for a request."""
    with connect(page, request.replace('\n', '\r\n').encode()) as connection:
        return connection.makefile('rb').read()


@pytest.mark.parametrize(
    ('host', 'status'),
    [
        ('127.0.0.1:{port}', b'200'),
        ('LOCALHOST:{port}', b'200'),
        ('localhost', b'200'),
        ('evil.example:{port}', b'421'),
        ('127.0.0.1.evil.example', b'421'),
        ('localhost:1', b'421'),
        ('', b'421'),
    ],
)
def test_only_this_machine_by_its_own_name_is_answered(host: str, status: bytes) -> None:
    with LivePage() as page:
        host = host.format(port=page.port)
        for path in ('/', '/elsewhere', '/stream'):
            if (path, status) == ('/stream', b'200'):
                continue  # which has no end
            expected = status if path == '/' or status == b'421' else b'404'
            got = answer(page, f'GET {path} HTTP/1.0\nHost: {host}\n\n')
            assert got.split()[1] == expected
            assert (b'img' in got) == (expected == b'200')
        assert answer(page, 'GET / HTTP/1.0\n\n').split()[1] == b'421'


def test_slow_clients_take_no_more_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, 'REQUEST_TIME', 0.5)
    before = threading.active_count()
    with LivePage() as page, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(page, b'GET / HTTP/1.1\r\nHo'))
        most = threading.active_count()
        assert most <= before + 1 + CONNECTIONS
        request = f'GET / HTTP/1.0\nHost: {page.url[7:-1]}\n\n'
        end = time.monotonic() + 60
        while b'img' not in answer(page, request):  # slow clients that still wait take their turn
            assert time.monotonic() < end, f'{threading.active_count()} threads'


def test_a_byte_now_and_then_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, 'REQUEST_TIME', 0.5)
    with LivePage() as page, connect(page, b'GET / HTTP/1.1\r\n') as connection:

        def drip() -> None:
            for _ in range(600):
                connection.sendall(b'X')
                time.sleep(0.1)

        with pytest.raises(OSError, match='reset|pipe'):
            drip()


def test_viewers_who_do_not_read_and_those_who_have_gone_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_page, 'REQUEST_TIME', 0.5)
    with LivePage() as page:
        request = f'GET /stream HTTP/1.0\r\nHost: {page.url[7:-1]}\r\n\r\n'.encode()
        with connect(page, request):
            wait_for_viewers(page, 1)
            page.show(bytes(50_000_000))
            wait_for_viewers(page, 0)
        connect(page, request).close()  # and nothing more is shown
        wait_for_viewers(page, 0)


def test_viewers_wait_for_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, 'REQUEST_TIME', 0.2)
    with LivePage() as page, urllib.request.urlopen(f'{page.url}stream', timeout=60) as response:
        wait_for_viewers(page, 1)
        time.sleep(1.0)
        page.show(b'first')
        lines = iter(response.readline, b'')
        assert next(line for line in lines if line.startswith(b'--')) == b'--picture\r\n'
        assert page.viewers == 1


def wait_for_threads(count: int) -> None:
    """Wait until no more are left."""
    end = time.monotonic() + 60
    while threading.active_count() > count:
        assert time.monotonic() < end, f'{threading.active_count()} threads'
        time.sleep(0.05)
