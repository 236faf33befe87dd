"""One file over HTTP: gone on with after a break, tried again, and given up when the server is silent for too long.

    download("https://example.org/weights", Path("weights.part"))

What has come stays in the part file whatever happens, so that the next call asks for the rest only.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

CHUNK = 1 << 16  # bytes
BROKEN = (OSError, HTTPException)  # what reading from a connection may raise

Report = Callable[[int, int | None], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Patience:
    """How long a download waits.

    Attributes:
        timeout: seconds that a server may be silent.
        tries: requests in all, at least 1, where connections break or servers are busy.
        wait: seconds before the second request; doubled before each further one.
    """

    timeout: float = 15.0
    tries: int = 4
    wait: float = 1.0


PATIENCE = Patience()


class UnavailableError(Exception):
    """The file cannot be had now; the message says why. Callers know better than this module what to do about it."""


class GoneError(UnavailableError):
    """There is no such file at the address."""


class _BrokenError(Exception):
    """The server was busy, or the connection ended before the file: worth another try."""


def ignore(*_: object) -> None:
    """A `Report` or `Say` that tells nobody."""


def download(url: str, part: Path, patience: Patience = PATIENCE, report: Report = ignore, say: Say = ignore) -> None:
    """Fills a file with what lies at an address. The bytes are not checked, but for their number where it is known.

    Args:
        url: http or https; redirects are followed.
        part: the file; what it holds already is taken for the beginning of what lies at the address, or for all of it
            where the server has no more.
        patience: timeout and number of tries.
        report: called with (bytes here, bytes in all or None where the server does not say).
        say: called with a line before each further try.

    Raises:
        UnavailableError: the server cannot be reached, refuses, has no such file, or breaks off time and again.
        OSError: the part file cannot be written.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UnavailableError(f"expected an address that begins with https:// or http://, got '{url}'")
    for tried in range(1, patience.tries + 1):
        try:
            return _request(url, part, patience.timeout, report)
        except _BrokenError as error:
            if tried == patience.tries:
                raise UnavailableError(f"{_host(url)} {error} (the last of {tried} tries)") from error
            say(f"{_host(url)} {error}; trying again ({tried + 1} of {patience.tries})")
            time.sleep(patience.wait * 2 ** (tried - 1))


def _request(url: str, part: Path, timeout: float, report: Report) -> None:
    """Asks once, for the rest where there is a part."""
    start = part.stat().st_size if part.exists() else 0
    response = _open(url, start, timeout)
    if response is None:
        return report(start, start)
    with response:
        start, total = _extent(response, part, start)
        done = _write(response, part, start, lambda bytes_here: report(bytes_here, total))
    if total is not None and done < total:
        raise _BrokenError(f"broke off after {done:,} of {total:,} bytes")


def _write(response: HTTPResponse, part: Path, start: int, report: Callable[[int], None]) -> int:
    """Adds what comes to the first `start` bytes of the part; gives its size then."""
    with part.open("ab" if start else "wb") as file:
        report(start)
        for chunk in _chunks(response):
            file.write(chunk)
            report(file.tell())
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _open(url: str, start: int, timeout: float) -> HTTPResponse | None:
    """The response, with the bytes from `start` on or with all of them; None where the file has no more."""
    ranges = {"Range": f"bytes={start}-"} if start else {}
    try:
        response: HTTPResponse = urlopen(Request(url, headers={"User-Agent": "nat", **ranges}), timeout=timeout)
        return response
    except HTTPError as error:
        with error:
            if error.code == 416 and start:
                return None
            raise _refusal(error) from error
    except URLError as error:
        raise _no_connection(url, error.reason) from error
    except BROKEN as error:
        raise _BrokenError(_silence_or_break(error)) from error


def _no_connection(url: str, reason: object) -> Exception:
    """Mostly said at once: a network that is not there seldom comes within seconds."""
    if isinstance(reason, ConnectionError) and not isinstance(reason, ConnectionRefusedError):
        return _BrokenError(f"broke off ({_words(reason)})")
    return UnavailableError(f"cannot reach {_host(url)} ({_words(reason)})")


def _refusal(error: HTTPError) -> Exception:
    answer = f"{error.code} {error.reason}"
    if error.code in {404, 410}:
        return GoneError(f"the address is gone: {error.url} answers {answer}")
    if error.code >= 500 or error.code in {408, 429}:
        return _BrokenError(f"answers {answer}")
    return UnavailableError(f"{error.url} answers {answer}")


def _extent(response: HTTPResponse, part: Path, start: int) -> tuple[int, int | None]:
    """Where in the file the response begins, and the bytes in all; a server may send all though asked for the rest."""
    if response.status != 206:
        return 0, response.length
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not sent or int(sent[1]) != start:
        part.unlink(missing_ok=True)
        raise _BrokenError("sent another part than it was asked for")
    if sent[2] != "*":
        return start, int(sent[2])
    return start, None if response.length is None else start + response.length


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """The bytes as they come, so that none are lost with a connection."""
    while True:
        try:
            chunk = response.read1(CHUNK)
        except BROKEN as error:
            raise _BrokenError(_silence_or_break(error)) from error
        if not chunk:
            return
        yield chunk


def _silence_or_break(error: BaseException) -> str:
    return "keeps silent" if isinstance(error, TimeoutError) else f"broke off ({_words(error)})"


def _words(reason: object) -> str:
    """What an error says: the system's words where there are some, else the kind of error."""
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)


def _host(url: str) -> str:
    return urlsplit(url).netloc
