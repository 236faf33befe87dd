"""Downloads, against a server on this machine that behaves as badly as servers do."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from nat.errors import CheckpointError, InputError
from nat.pretrained.cache import PublishedFile, pull, verified
from nat.pretrained.download import Patience, UnavailableError, download

CONTENT = random.Random(0).randbytes(300_000)
HALF = len(CONTENT) // 2
PATIENCE = Patience(timeout=5, tries=3, wait=0.01)
HASTE = Patience(timeout=0.5, tries=2, wait=0.01)
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers requests as the site's plan says."""

    server: "Site"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        plan = self.server.plan
        (plan.pop(0) if len(plan) > 1 else plan[0])(self)

    def send(self, code: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body) if length is None else length)} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """A server; `ranges` has the Range header of every request, None where it had none."""

    daemon_threads = False  # waited for at the end, so that no socket is left open

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[Behaviour] = [well]
        self.ranges: list[str | None] = []
        self.over = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights"

    def handle_error(self, *_: object) -> None:  # a client that left
        pass


def well(handler: Handler) -> None:
    asked = handler.headers["Range"]
    if asked is None:
        return handler.send(200, CONTENT, {})
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= len(CONTENT):
        return handler.send(416, b"", {"Content-Range": f"bytes */{len(CONTENT)}"})
    extent = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.send(206, CONTENT[start:], {"Content-Range": extent})


def all_of_it(handler: Handler) -> None:
    handler.send(200, CONTENT, {})


def half(handler: Handler) -> None:
    handler.send(200, CONTENT[:HALF], {}, len(CONTENT))


def silent_after_half(handler: Handler) -> None:
    half(handler)
    assert isinstance(handler.server, Site)
    handler.server.over.wait()


def silent(handler: Handler) -> None:
    handler.server.over.wait()


def hanging_up(handler: Handler) -> None:
    pass


def of_unknown_length(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT)


def another_part(handler: Handler) -> None:
    handler.send(206, CONTENT[10:], {"Content-Range": f"bytes 10-{len(CONTENT) - 1}/{len(CONTENT)}"})


def other_bytes(handler: Handler) -> None:
    handler.send(200, CONTENT[::-1], {})


def to_the_start(handler: Handler) -> None:
    handler.send(302, b"", {"Location": "/weights"})


def to_a_file(handler: Handler) -> None:
    handler.send(302, b"", {"Location": "file:///etc/hostname"})


def answering(code: int) -> Behaviour:
    return lambda handler: handler.send(code, b"<html>", {})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with Site() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def file(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedFile:
    """What the site serves, not yet pulled."""
    monkeypatch.setenv("NAT_HOME", str(tmp_path / "home"))
    blob_id = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    return PublishedFile("weights_w1.0", "weights", site.url, blob_id, "images", "none")


def leave_part(file: PublishedFile, content: bytes) -> None:
    """What an earlier try that was stopped leaves."""
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.with_name(f"{file.name}.part").write_bytes(content)


def left(file: PublishedFile) -> dict[str, bytes]:
    """The files in the cache, but for locks."""
    return {path.name: path.read_bytes() for path in file.path.parent.glob("[!.]*")}


WHOLE = {"weights_w1.0": CONTENT}
REST = f"bytes={HALF}-"


# --- whole files


def test_a_file_is_fetched_whole_and_once(site: Site, file: PublishedFile, tmp_path: Path) -> None:
    assert not file.is_here
    reported: list[tuple[int, int | None]] = []
    assert pull(file, PATIENCE, lambda done, total: reported.append((done, total)))
    assert file.path == tmp_path / "home" / "checkpoints" / "weights_w1.0" == verified(file)
    assert left(file) == WHOLE
    assert not pull(file, PATIENCE)
    assert site.ranges == [None]
    assert reported[0] == (0, len(CONTENT)) and reported[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in reported] == sorted({done for done, _ in reported})


@pytest.mark.parametrize(
    ("plan", "ranges"),
    [
        ([half, well], [None, REST]),
        ([half, half, well], [None, REST, REST]),
        ([half, all_of_it], [None, REST]),
        ([half, answering(503), well], [None, REST, REST]),
        ([half, another_part, well], [None, REST, None]),
        ([answering(503), well], [None, None]),
        ([answering(429), well], [None, None]),
        ([hanging_up, well], [None, None]),
        ([to_the_start, well], [None, None]),
        ([of_unknown_length], [None]),
    ],
)
def test_what_breaks_is_gone_on_with(
    site: Site, file: PublishedFile, plan: list[Behaviour], ranges: list[str | None]
) -> None:
    site.plan = plan
    assert pull(file, PATIENCE)
    assert left(file) == WHOLE
    assert site.ranges == ranges


def test_redirects_keep_the_range(site: Site, file: PublishedFile) -> None:
    site.plan = [half, to_the_start, well]
    assert pull(file, PATIENCE)
    assert site.ranges == [None, REST, REST]
    assert left(file) == WHOLE


def test_further_tries_are_said(site: Site, file: PublishedFile) -> None:
    site.plan = [answering(503), half, well]
    said: list[str] = []
    pull(file, PATIENCE, say=said.append)
    assert [line.partition(" ")[2] for line in said] == [
        "answers 503 Service Unavailable; trying again (2 of 3)",
        "broke off after 150,000 of 300,000 bytes; trying again (3 of 3)",
    ]


# --- going on with what an earlier call left


@pytest.mark.parametrize(
    ("part", "plan", "ranges"),
    [
        (CONTENT[:HALF], [well], [REST]),
        (CONTENT[:HALF], [all_of_it], [REST]),
        (CONTENT, [well], [f"bytes={len(CONTENT)}-"]),
        (b"", [well], [None]),
        (CONTENT + b"more", [well], [f"bytes={len(CONTENT) + 4}-", None]),
        (CONTENT[:HALF], [answering(416), well], [REST, None]),
        (CONTENT[::-1][:HALF], [well], [REST, None]),
        (CONTENT[::-1], [well], [f"bytes={len(CONTENT)}-", None]),
    ],
    ids=["half", "ranges ignored", "complete", "empty", "too long", "refused", "stale half", "stale"],
)
def test_a_part_is_used_where_it_fits(
    site: Site, file: PublishedFile, part: bytes, plan: list[Behaviour], ranges: list[str | None]
) -> None:
    leave_part(file, part)
    site.plan = plan
    assert pull(file, PATIENCE)
    assert left(file) == WHOLE
    assert site.ranges == ranges


PULLING = """
import sys
from nat.pretrained.cache import PublishedFile, pull

pull(PublishedFile("weights_w1.0", "", sys.argv[1], "0" * 40, "", ""))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_leaves_a_part_to_go_on_with(site: Site, file: PublishedFile) -> None:
    site.plan = [silent_after_half, well]
    part = file.path.with_name("weights_w1.0.part")
    with subprocess.Popen([sys.executable, "-c", PULLING, site.url], env=dict(os.environ)) as process:
        until = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(CheckpointError, match="another process is fetching"):
            pull(file, PATIENCE)
        process.send_signal(signal.SIGKILL)
    here = part.read_bytes()
    assert 0 < len(here) <= HALF and CONTENT.startswith(here) and not file.is_here
    assert pull(file, PATIENCE)
    assert site.ranges == [None, f"bytes={len(here)}-"]
    assert left(file) == WHOLE


# --- what cannot be had


def refused(file: PublishedFile, patience: Patience = PATIENCE) -> str:
    with pytest.raises(CheckpointError) as caught:
        pull(file, patience)
    assert not file.is_here
    return str(caught.value)


def test_a_server_that_stalls_is_given_up(site: Site, file: PublishedFile) -> None:
    site.plan = [silent_after_half, silent]
    started = time.monotonic()
    message = refused(file, HASTE)
    assert time.monotonic() - started < 5
    assert "keeps silent (the last of 2 tries)" in message and "what has come is kept" in message
    assert left(file) == {"weights_w1.0.part": CONTENT[:HALF]}
    site.plan = [well]
    assert pull(file, PATIENCE)
    assert site.ranges == [None, REST, REST]


def test_a_stall_is_gone_on_with(site: Site, file: PublishedFile) -> None:
    site.plan = [silent_after_half, well]
    assert pull(file, Patience(timeout=0.5, tries=2, wait=0))
    assert site.ranges == [None, REST]
    assert left(file) == WHOLE


def test_an_address_that_is_gone(site: Site, file: PublishedFile) -> None:
    site.plan = [answering(404)]
    message = refused(file)
    assert f"the address is gone: {site.url} answers 404" in message and f"put it at '{file.path}'" in message
    assert len(site.ranges) == 1
    assert left(file) == {}


@pytest.mark.parametrize(("code", "requests"), [(403, 1), (416, 1), (500, 3), (503, 3)])
def test_a_server_that_refuses(site: Site, file: PublishedFile, code: int, requests: int) -> None:
    site.plan = [answering(code)]
    assert f"answers {code}" in refused(file)
    assert len(site.ranges) == requests
    assert left(file) == {}


def test_other_bytes_are_never_kept(site: Site, file: PublishedFile) -> None:
    site.plan = [other_bytes]
    message = refused(file)
    found = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT[::-1]).hexdigest()
    assert f"expected git blob id {file.blob_id} from {site.url}, got {found}" in message
    assert len(site.ranges) == 1
    assert left(file) == {}


def test_without_a_network_the_way_by_hand_is_said(file: PublishedFile, site: Site) -> None:
    site.server_close()  # nobody listens there now
    message = refused(file)
    assert message.startswith(f"cannot reach 127.0.0.1:{site.server_port} (Connection refused).")
    assert f"Fetch {file.url} on another machine and put it at '{file.path}'" in message
    assert len(message.splitlines()) == 1
    file.path.write_bytes(CONTENT)
    assert verified(file) == file.path
    assert not pull(file)


def test_only_the_web_is_asked(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(UnavailableError, match="begins with https://"):
        download((tmp_path / "secret").as_uri(), tmp_path / "part")
    site.plan = [to_a_file]
    with pytest.raises(UnavailableError, match="302"):
        download(site.url, tmp_path / "part", PATIENCE)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


# --- the cache


def test_a_file_that_was_changed_is_refused_and_replaced(site: Site, file: PublishedFile) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(b"another")
    with pytest.raises(CheckpointError, match=rf"expected git blob id {file.blob_id} of .*nat checkpoints pull"):
        verified(file)
    site.plan = [answering(404), well]
    with pytest.raises(CheckpointError, match="is gone"):
        pull(file, PATIENCE)
    assert left(file) == {"weights_w1.0": b"another"}, "kept until there is better"
    said: list[str] = []
    assert pull(file, PATIENCE, say=said.append)
    assert left(file) == WHOLE and "fetching it again" in said[0]


def test_a_cache_that_cannot_be_written(site: Site, file: PublishedFile, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    assert not file.is_here
    with pytest.raises(InputError, match=r"cannot write .*NAT_HOME"):
        pull(file, PATIENCE)
    assert site.ranges == []


def test_a_full_disk(site: Site, file: PublishedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nat.pretrained.download.os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        pull(file, PATIENCE)
    assert len(site.ranges) == 1 and not file.is_here
