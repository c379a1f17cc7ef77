"""Fetching files, from a server on this machine."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from netspec.data.download import Remote, download
from netspec.errors import DataError

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut` bytes of each reply are not sent, `ranges` says whether parts may be asked for."""

    cut, ranges = 0, True
    asked: list

    def url(self, path="/file"):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked[len("bytes=") : -1]) if asked and self.server.ranges else 0
        if self.path != "/file":
            self.send_error(404)
        elif start >= len(CONTENT):
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : len(CONTENT) - self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("checksum", [MD5, hashlib.sha256(CONTENT).hexdigest()])
def test_fetches_a_file(server, tmp_path, checksum):
    """A file is fetched whole, by either checksum, and what is there is not fetched again."""
    for _ in range(2):
        got = download(Remote("x.bin", [server.url()], checksum), tmp_path / "new")
        assert got == tmp_path / "new" / "x.bin"
        assert got.read_bytes() == CONTENT
    assert server.asked == [None]
    assert [path.name for path in got.parent.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_was_cut_off(server, tmp_path, ranges):
    """What arrived stays; the next try asks for the rest, and takes the whole where the server gives no parts."""
    server.cut, server.ranges = 4000, ranges
    remote = Remote("x.bin", [server.url()], MD5)
    with pytest.raises(DataError, match=f"ended after {len(CONTENT) - 4000} of {len(CONTENT)} bytes"):
        download(remote, tmp_path)
    assert (tmp_path / "x.bin.part").read_bytes() == CONTENT[:-4000]
    server.cut = 0
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT) - 4000}-"]


def test_a_part_that_is_whole_is_taken(server, tmp_path):
    """A file of which only the last step was missing is not fetched again."""
    (tmp_path / "x.bin.part").write_bytes(CONTENT)
    assert download(Remote("x.bin", [server.url()], MD5), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("there", [False, True])
def test_another_content_is_refused_and_removed(server, tmp_path, there):
    """A file with another checksum, fetched or found, is named, with the address that gave it, and does not stay."""
    if there:
        (tmp_path / "x.bin").write_bytes(CONTENT)
    source = "" if there else f" from {server.url()}"
    with pytest.raises(DataError, match=f"x.bin{source}: the checksum is {MD5} where {'0' * 32} is expected"):
        download(Remote("x.bin", [server.url("/no"), server.url()], "0" * 32), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_next_address_is_tried(server, tmp_path):
    """Where one address fails the next is taken; where all do, each is named with its cause."""
    assert download(Remote("x.bin", [server.url("/no"), server.url()], MD5), tmp_path).read_bytes() == CONTENT
    nobody = "http://127.0.0.1:9/file"
    with pytest.raises(DataError, match=r"/no cannot be fetched .*404.*; http://127.0.0.1:9/file .*--from takes"):
        download(Remote("y.bin", [server.url("/no"), nobody], MD5), tmp_path)
