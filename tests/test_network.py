"""A missing network is known within seconds, whatever part of it is missing."""

import socket
import threading

from effnet_helpers.machine import why_unreachable

import pytest


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def test_a_server_that_never_answers_keeps_nobody_waiting():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/images.tar"
        assert why_unreachable(url, seconds=0.2)
    assert "refused" in why_unreachable(url)


def test_a_name_server_that_never_answers_keeps_nobody_waiting(monkeypatch):
    is_over = threading.Event()

    def never(*_, **__):
        is_over.wait()
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", never)
    assert "no answer from weights.example" in why_unreachable("https://weights.example/b0.h5", seconds=0.1)
    is_over.set()


def test_a_server_that_answers_is_reachable_even_if_it_refuses():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.0 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        assert why_unreachable(f"http://127.0.0.1:{server.getsockname()[1]}/file") == ""
