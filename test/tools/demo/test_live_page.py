"""The live page, asked as a browser asks it."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import pytest

from tools.demo.live_page import LivePage


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
    with LivePage() as page, pytest.raises(urllib.error.HTTPError, match='404'):
        urllib.request.urlopen(f'{page.url}etc/passwd')
