"""Downloads from local servers that break off, ignore ranges or send other content."""

import gzip
import hashlib
import io
import random
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from smoothmorph.pipeline.downloads import datasets as fetch_module
from smoothmorph.pipeline.downloads import resumable as download_module
from smoothmorph.pipeline.downloads import unpack as unpack_module
from smoothmorph.pipeline.downloads.datasets import DATASETS, Dataset, fetch
from smoothmorph.pipeline.downloads.resumable import download
from smoothmorph.pipeline.downloads.unpack import unpack
from smoothmorph.transforms.basics.errors import InputError

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves ``content`` under any path, with the faults that the attributes set."""

    content = CONTENT
    ranges = True
    break_after: list[int]
    """Number of bytes after which each of the next responses breaks off."""
    status: list[int]
    """Status codes of the next responses."""
    etag: str | None = '"one"'
    kind = "application/x-tar"
    requests: list[dict[str, str]]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients close the connection on purpose

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        if server.status and (status := server.status.pop(0)) != 200:
            self.send_error(status)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if server.ranges else None
        if self.headers.get("If-Range", server.etag) != server.etag:
            wanted = None
        start = int(wanted[1]) if wanted else 0
        total = len(server.content)
        if wanted and start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.send_header("Content-Type", server.kind)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        stop = start + server.break_after.pop(0) if server.break_after else total
        self.wfile.write(server.content[start:stop])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.break_after, server.status, server.requests = [], [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_download(server, tmp_path):
    seen = []
    path = download(server.url, tmp_path / "x.tar", lambda *progress: seen.append(progress))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert list(tmp_path.iterdir()) == [path]
    assert "Range" not in server.requests[0]


def test_an_interrupted_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.break_after = [100_000, 200_000]
    path = download(server.url, tmp_path / "x.tar", wait=0.01)
    assert path.read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=100000-", "bytes=300000-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_a_later_call_goes_on_too(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "TRIES", 1)
    server.break_after = [100_000]
    with pytest.raises(InputError, match="100000 of 1024000 bytes arrived"):
        download(server.url, tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()
    assert (tmp_path / "x.tar.partial").stat().st_size == 100_000
    assert download(server.url, tmp_path / "x.tar").read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=100000-"


@pytest.mark.parametrize("etag", ['"one"', None])
def test_a_server_without_ranges_starts_anew(server, tmp_path, etag):
    server.ranges, server.etag, server.break_after = False, etag, [100_000]
    assert download(server.url, tmp_path / "x.tar", wait=0.01).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_another_version_on_the_server_starts_anew(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "TRIES", 1)
    server.break_after = [100_000]
    with pytest.raises(InputError):
        download(server.url, tmp_path / "x.tar")
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert download(server.url, tmp_path / "x.tar").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(("length", "requests"), [(len(CONTENT), 1), (len(CONTENT) + 7, 2)])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, length, requests):
    (tmp_path / "x.tar.partial").write_bytes((CONTENT + CONTENT)[:length])
    assert download(server.url, tmp_path / "x.tar", wait=0.01).read_bytes() == CONTENT
    assert len(server.requests) == requests


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.status = [503, 429]
    assert download(server.url, tmp_path / "x.tar", wait=0.01).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "kind", "sentence"), [(403, "", "HTTP 403"), (404, "", "HTTP 404"), (200, "text/html", "a web page")]
)
def test_refusals_are_not_repeated(server, tmp_path, status, kind, sentence):
    server.status, server.kind = [status], kind
    with pytest.raises(InputError, match=sentence) as error:
        download(server.url, tmp_path / "x.tar")
    assert len(server.requests) == 1
    assert server.url in str(error.value)
    assert str(tmp_path / "x.tar") in str(error.value)


def test_offline_is_one_sentence_that_says_what_to_do(server, tmp_path):
    server.server_close()  # the server is gone
    with pytest.raises(InputError, match=r"cannot download http://127.0.0.1:\d+/data.tar \(.*refused") as error:
        download(server.url, tmp_path / "x.tar", wait=0.001)
    assert f"put the file at {tmp_path / 'x.tar'} yourself" in str(error.value)
    assert "\n" not in str(error.value)


def archive(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, member in members.items():
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


WHOLE = {"subjects.txt": b"a\n", "a/image.nii.gz": b"1234" * 1000, "a/._image.nii.gz": b"clutter"}


@pytest.mark.parametrize("top", ["", "./", "Task/"])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_unpack(tmp_path, top, mode):
    (tmp_path / "x.tar").write_bytes(archive({top + name: data for name, data in WHOLE.items()}, mode))
    target = unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt")
    assert (target / "a" / "image.nii.gz").read_bytes() == WHOLE["a/image.nii.gz"]
    assert not (target / "a" / "._image.nii.gz").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "x.tar"]


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"../outside": b"x"}, "leads out of the folder"),
        ({"a/../../outside": b"x"}, "leads out of the folder"),
        ({"/outside": b"x"}, "is not a relative path"),
        ({"C:\\outside": b"x"}, "is not a relative path"),
        ({"..\\outside": b"x"}, "is not a relative path"),
        ({"link": special("link", tarfile.SYMTYPE, "../outside")}, "is a link to '../outside'"),
        ({"link": special("link", tarfile.SYMTYPE, "/"), "link/outside": b"x"}, "is a link to '/'"),
        ({"link": special("link", tarfile.LNKTYPE, "../outside")}, "is a link"),
        ({"device": special("device", tarfile.CHRTYPE)}, "is a device"),
        ({"pipe": special("pipe", tarfile.FIFOTYPE)}, "is a device"),
    ],
)
def test_malicious_archives_write_nothing(tmp_path, members, sentence):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.tar").write_bytes(archive({**WHOLE, **members}))
    with pytest.raises(InputError, match=f"not safe to unpack: .*{sentence}"):
        unpack(tmp_path / "in" / "x.tar", tmp_path / "in" / "set", "subjects.txt")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "x.tar"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_truncated_archives_leave_nothing(tmp_path, mode):
    members = {f"a/{number}": random.Random(number).randbytes(2500) for number in range(5)}
    content = archive({**members, "subjects.txt": b"a\n"}, mode)
    end = len(content.rstrip(b"\0")) if mode == "w" else len(content)
    cuts = sorted({1, 300, 512, 1024, 3072, end // 2, end - 1, end - 300, end - 513})
    for cut in cuts:
        (tmp_path / "x.tar").write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"is not a complete tar archive|does not hold"):
            unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt")
        assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_an_archive_that_lost_its_last_members_is_noticed(tmp_path):
    content = archive({"subjects.txt": b"a\n", "b": b"1" * 512, "c": b"2" * 512})
    (tmp_path / "x.tar").write_bytes(content[:2048])  # truncated between two members
    with pytest.raises(InputError, match="its end is missing"):
        unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt")
    assert not (tmp_path / "set").exists()


def sized(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a member that claims ``size`` bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def negative(name: str) -> bytes:
    """The header of a member with -1 bytes; tarfile would read it in an endless loop."""
    header = bytearray(sized(name, 0))
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def extended(**records: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("x")
    info.pax_headers = records
    return info


LINK = sized("././@LongLink", 4, tarfile.GNUTYPE_LONGNAME) + b"abc\0" + bytes(508)
HOSTILE = {
    "a file that claims 3 GiB": (
        sized("a", 3 << 30),
        "'a' makes the total size 3221225474 bytes, but at most 1000000 are",
    ),
    "two that claim 600 kB": (
        sized("a", 600_000) + bytes(600_064) + sized("b", 600_000),
        "'b' makes the total size 1200002 bytes",
    ),
    "one file too many": (b"".join(sized(str(i), 0) for i in range(20)), "'19' exceeds the limit of 20 files"),
    "3,000 nested folders": (archive({"x": extended(path="d/" * 3000 + "f")})[:-1024], "is 3001 folders deep"),
    "a long name": (archive({"x": extended(path="n" * 256)})[:-1024], "has a name of more than 255 bytes"),
    "a NUL in a name": (archive({"x": extended(path="a\0b")})[:-1024], "has a name that cannot be printed"),
    "a name of a terminal": (sized("\x1b[2J", 0), "has a name that cannot be printed"),
    "a negative length": (negative("a"), "'a' has a negative length"),
    "a header of 1 GiB": (sized("x", 1 << 30, tarfile.XHDTYPE), "has a header of more than 65536 bytes"),
    "a chain of 3,000 headers": (LINK * 3000, "has a header of more than 65536 bytes"),
    "a number of 5,000 digits": (
        sized("x", 5010, tarfile.XHDTYPE) + b"1" * 5000 + b" path=a\n" + bytes(623),
        "is not a complete tar archive",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_what_an_archive_may_hold_is_bounded_by_what_the_data_set_says(tmp_path, content, sentence, pack):
    whole = archive({"subjects.txt": b"a\n"})[:1024]
    (tmp_path / "x.tar").write_bytes(pack(whole + content + bytes(10240)))
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt", members=20, size=1_000_000)
    assert len(str(error.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


@pytest.mark.parametrize(
    "content", [b"", b"no tar\n" * 500, gzip.compress(b"no tar", mtime=0), b"\x1f\x8b no gzip", b"PK\3\4"]
)
def test_a_file_that_is_no_tar_is_one_sentence(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(
        InputError, match=r"^\S+x\.tar is not a complete tar archive \(.+\); delete it and run again\.$"
    ) as error:
        unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_zeros_without_end_behind_an_archive_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack_module, "LONGEST_END", 100_000)
    (tmp_path / "x.tar").write_bytes(gzip.compress(archive(WHOLE) + bytes(1_200_000)))
    with pytest.raises(InputError, match="there is data after its end"):
        unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt")


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".set.unpacking" / "a").mkdir(parents=True)
    (tmp_path / "x.tar").write_bytes(archive(WHOLE))
    unpack(tmp_path / "x.tar", tmp_path / "set", "subjects.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "x.tar"]


@pytest.fixture
def served(server, monkeypatch):
    """The name of a data set on the local server."""
    server.content = archive(WHOLE)

    def make(md5: str | None = None) -> str:
        dataset = Dataset(server.url, "set", "subjects.txt", "be kind", md5=md5)
        monkeypatch.setitem(fetch_module.DATASETS, "made", dataset)
        return "made"

    return make


def test_fetch_and_fetch_again(server, served, tmp_path):
    fetched = fetch(served(), tmp_path / "new" / "data")
    assert fetched.folder == tmp_path / "new" / "data" / "set"
    assert (fetched.folder / "subjects.txt").read_text() == "a\n"
    assert hashlib.sha256(server.content).hexdigest() in str(fetched)
    assert "no checksum is published, and none was given" in str(fetched)
    assert "be kind" in str(fetched)
    assert [path.name for path in fetched.folder.parent.iterdir()] == ["set"]
    again = fetch("made", tmp_path / "new" / "data")
    assert "exists already; nothing to do" in str(again)
    assert len(server.requests) == 1


def test_checksums(server, served, tmp_path):
    sha256, md5 = hashlib.sha256(server.content).hexdigest(), hashlib.md5(server.content).hexdigest()
    assert "as expected" in str(fetch(served(), tmp_path / "a", sha256.upper()))
    assert fetch(served(md5), tmp_path / "b").verified
    with pytest.raises(InputError, match=f"has sha256 {sha256}, expected {'0' * 64}: it is damaged or another"):
        fetch(served(md5), tmp_path / "c", "0" * 64)
    with pytest.raises(InputError, match=f"has md5 {md5}, expected 00"):
        fetch(served("00"), tmp_path / "d")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["data.tar.rejected"]
    assert fetch(served(md5), tmp_path / "d").verified  # downloads it again
    with pytest.raises(InputError, match="is not a sha256 checksum"):
        fetch(served(), tmp_path / "e", "abc")
    assert not (tmp_path / "e").exists()


def test_an_archive_put_there_by_hand_is_used(server, served, tmp_path):
    (tmp_path / "data.tar").write_bytes(server.content)
    assert (fetch(served(), tmp_path).folder / "subjects.txt").is_file()
    assert not server.requests


def test_fetch_refuses(served, tmp_path):
    with pytest.raises(InputError, match="unknown data set 'nothing'; known are neurite-oasis-2d, hippocampus"):
        fetch("nothing", tmp_path)
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match="set exists but does not hold"):
        fetch(served(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot create the folder"):
        fetch(served(), tmp_path / "file" / "data")


def test_the_published_addresses():
    from monai.apps.datasets import DecathlonDataset

    hippocampus = DATASETS["hippocampus"]
    assert hippocampus.url == DecathlonDataset.resource["Task04_Hippocampus"]
    assert hippocampus.md5 == DecathlonDataset.md5["Task04_Hippocampus"]
    assert DATASETS["neurite-oasis-2d"].archive == "neurite-oasis.2d.v1.0.tar"
    assert all(dataset.url.startswith("https://") for dataset in DATASETS.values())


@pytest.mark.parametrize("name", DATASETS)
def test_the_bounds_of_the_data_sets_are_above_what_they_hold(name, real_data):
    folder, bounds = Path(real_data, DATASETS[name].folder), DATASETS[name]
    held = list(folder.rglob("*"))
    assert 2 * len(held) < bounds.members < 100_000
    assert 2 * sum(path.stat().st_size for path in held) < bounds.size < 1 << 30


def test_unpacked_sets_are_what_the_readers_read(real_data):
    for dataset in DATASETS.values():
        assert Path(real_data, dataset.folder, dataset.marker).is_file()
