"""Resumable download of a file over HTTP: the received part is kept and continued after an interruption."""

import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...transforms.basics.errors import InputError

Progress = Callable[[int, int | None], None]
"""Called with (bytes done, total bytes or None if the server does not state them)."""
AGENT = "Mozilla/5.0 (compatible; smoothmorph)"
"""User agent; the FreeSurfer server rejects the default ones of download tools."""
CHUNK = 1 << 18
TRIES = 4


class _BrokenError(Exception):
    """The transfer stopped early and should be tried again."""


@dataclass
class _Transfer:
    url: str
    partial: Path
    progress: Progress | None
    timeout: float

    @property
    def validator(self) -> Path:
        # holds the server's version of the file that the received part belongs to
        return self.partial.with_name(self.partial.name + ".version")

    @property
    def there(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)


def download(
    url: str, target: Path, progress: Progress | None = None, wait: float = 1.0, timeout: float = 60.0
) -> Path:
    """Download ``url`` to ``target``, which exists only when it is complete.

    Until then, the received part is in ``target.partial``. The next try, or the next call, requests the rest (HTTP
    Range, If-Range). If the server sends the whole file or another version, the download starts from the beginning.

    Args:
        url: the address of the file.
        target: the file to write.
        progress: called with (bytes done, total bytes or None).
        wait: seconds before the second try, doubled before each further try. Received data resets the number of tries.
        timeout: seconds without data after which a transfer counts as broken.

    Raises:
        InputError: there is no connection or no disk space, the server refuses, or it sends a web page instead.
    """
    transfer = _Transfer(url, target.with_name(target.name + ".partial"), progress, timeout)
    tries = 0
    while True:
        before = transfer.there
        try:
            _attempt(transfer)
        except _BrokenError as error:
            tries = 1 if transfer.there > before else tries + 1
            if tries >= TRIES:
                raise InputError(_by_hand(url, target, str(error))) from None
            time.sleep(wait * 2 ** (tries - 1))
        except InputError as error:
            raise InputError(_by_hand(url, target, str(error))) from None
        except OSError as error:
            raise InputError(f"cannot write {transfer.partial}: {error.strerror or error}.") from None
        else:
            os.replace(transfer.partial, target)
            transfer.validator.unlink(missing_ok=True)
            return target


def _by_hand(url: str, target: Path, reason: str) -> str:
    return f"cannot download {url} ({reason}); run again later, or put the file at {target} yourself and run again."


def _attempt(transfer: _Transfer) -> None:
    there = transfer.there
    headers = {"User-Agent": AGENT}
    if there:
        headers["Range"] = f"bytes={there}-"
        if transfer.validator.exists():
            headers["If-Range"] = transfer.validator.read_text(encoding="ascii")
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(transfer.url, headers=headers), timeout=transfer.timeout
        )
    except urllib.error.HTTPError as error:
        _refused(transfer, error)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise _BrokenError(f"{getattr(error, 'reason', None) or error or type(error).__name__}") from None
    else:
        with response:
            _receive(transfer, response, there)


def _refused(transfer: _Transfer, error: urllib.error.HTTPError) -> None:
    with error:
        if error.code == 416 and transfer.there:  # nothing beyond the received part: it is complete, or outdated
            if error.headers.get("Content-Range") == f"bytes */{transfer.there}":
                return
            transfer.discard()
            raise _BrokenError("the server's file has changed")
        if error.code in (408, 429) or error.code >= 500:
            raise _BrokenError(f"HTTP {error.code} {error.reason}")
        raise InputError(f"HTTP {error.code} {error.reason}")


def _receive(transfer: _Transfer, response: http.client.HTTPResponse, there: int) -> None:
    if transfer.url.startswith("https:") and not response.url.startswith("https:"):
        raise InputError(f"the server redirects to the unencrypted {response.url}")
    if response.headers.get_content_type() == "text/html":
        raise InputError("the server sends a web page instead of the file")
    start, total = _extent(response)
    if start != there:  # status 200: the whole file from its beginning
        start = 0
    if start == 0:
        transfer.discard()
        version = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
        if version and not version.startswith("W/"):  # If-Range does not accept weak validators
            transfer.validator.write_text(" ".join(version.split()), encoding="ascii", errors="ignore")
    elif response.status != 206:
        raise _BrokenError("the server did not send the rest of the file")
    if total is not None and total - start > shutil.disk_usage(transfer.partial.parent).free:
        raise InputError(f"the disk of {transfer.partial.parent} has no space for {total} bytes")
    done = _copy(transfer, response, start, total)
    if total is not None and done < total:
        raise _BrokenError(f"{done} of {total} bytes arrived")
    if total is not None and done > total:
        transfer.discard()
        raise _BrokenError("more bytes arrived than announced")


def _extent(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """The offset of the response body in the file, and the file's length if the server states it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None:
            raise _BrokenError("the server sent an invalid Content-Range")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length and length.isdecimal() else None


def _copy(transfer: _Transfer, response: http.client.HTTPResponse, start: int, total: int | None) -> int:
    done = start
    with open(transfer.partial, "ab" if start else "wb") as file:
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenError(f"{type(error).__name__} after {done} bytes") from None
            if not chunk:
                return done
            file.write(chunk)
            done += len(chunk)
            if transfer.progress is not None:
                transfer.progress(done, total)
