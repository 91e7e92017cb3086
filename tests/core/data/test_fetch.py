"""Downloads from a local server: complete or not at all, checked, resumable, with a message if they fail."""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nfkd.data import DataError, NotFetchedError
from nfkd.data.cache import cache_folder, cached, candidates
from nfkd.data.fetch import fetch
from nfkd.data.files import stamp
from nfkd.data.source import OnProgress, RemoteFile
from tests.core.data.loopback import Site, serving

CONTENT = np.random.default_rng(0).bytes(1_000_000)


def silent(_name: str, _received: int, _total: int) -> None:
    pass


def fetched(file: RemoteFile, on_progress: OnProgress = silent) -> Path:
    fetch([file], "", on_progress, title="X")
    return cache_folder() / file.name


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    with serving(Site({"/x.gz": CONTENT})) as served:
        yield served


def remote(site: Site, path: str = "/x.gz", content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(site.address + path, hashlib.sha256(content).hexdigest(), "set/x.gz", len(content))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_file_is_downloaded_once_and_reports_its_progress(site: Site) -> None:
    progress: list[tuple[str, int, int]] = []
    file = remote(site)
    with pytest.raises(NotFetchedError) as missing:
        cached([file], title="X", event_shape=(1, 2, 2))
    assert missing.value.files == [file]
    assert missing.value.event_shape == (1, 2, 2)
    for word in (file.url, str(cache_folder() / "set")):
        assert word in str(missing.value)
        assert word in missing.value.by_hand

    path = fetched(file, lambda *step: progress.append(step))
    assert path == cache_folder() / "set" / "x.gz"
    assert path.read_bytes() == CONTENT
    assert progress[0] == ("x.gz", 0, len(CONTENT))
    assert progress[-1] == ("x.gz", len(CONTENT), len(CONTENT))
    assert [received for _, received, _ in progress] == sorted(received for _, received, _ in progress)
    assert cached([file], title="X") == [path]
    assert fetched(file, silent) == path
    assert len(site.asked) == 1
    assert left(path.parent) == {"x.gz"}


@pytest.mark.parametrize("ranges", [True, False], ids=["resumed", "sent whole again"])
def test_a_cut_download_is_resumed(site: Site, ranges: bool) -> None:
    site.cut, site.ranges = 400_000, ranges
    with pytest.raises(DataError, match="connection was cut; the received bytes are kept") as cut:
        fetched(remote(site))
    assert site.address in str(cut.value)
    assert left(cache_folder() / "set") == {"x.gz.part"}

    site.cut = None
    progress: list[int] = []
    path = fetched(remote(site), lambda _, received, __: progress.append(received))
    assert path.read_bytes() == CONTENT
    assert site.asked[-1] == ("/x.gz", "bytes=400000-")
    assert progress[0] == (400_000 if ranges else 0)


@pytest.mark.parametrize(
    ("begun", "shift"),
    [(bytes(len(CONTENT)), 0), (bytes(len(CONTENT) + 5), 0), (CONTENT[:1000], 1)],
    ids=["as long", "longer", "another range is sent"],
)
def test_a_part_that_cannot_be_continued_is_replaced(site: Site, begun: bytes, shift: int) -> None:
    part = cache_folder() / "set" / "x.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(begun)
    site.shift = shift
    assert fetched(remote(site)).read_bytes() == CONTENT


def test_wrong_bytes_are_removed_and_reported(site: Site) -> None:
    site.files["/x.gz"] = CONTENT[:-1] + b"!"
    file = remote(site)
    with pytest.raises(DataError, match="came with another SHA-256 and was removed") as wrong:
        fetched(file)
    for word in (file.url, file.sha256, str(cache_folder() / "set")):
        assert word in str(wrong.value)
    assert left(cache_folder() / "set") == set()
    with pytest.raises(NotFetchedError):
        cached([file], title="X")


def test_the_address_of_several_files_in_one_folder_appears_once(site: Site) -> None:
    near = [RemoteFile(f"{site.address}/d/{name}", "0" * 64, f"set/{name}") for name in ("a.gz", "b.gz", "c.gz")]
    with pytest.raises(NotFetchedError) as missing:
        cached(near, title="X")
    expected = f"get a.gz, b.gz and c.gz from {site.address}/d/ and put them into {cache_folder() / 'set'}"
    assert missing.value.by_hand == expected
    far = RemoteFile(f"{site.address}/e/d.gz", "0" * 64, "set/d.gz")
    with pytest.raises(NotFetchedError) as missing:
        cached([near[0], far], title="X")
    assert missing.value.by_hand.startswith(f"get {near[0].url} and {far.url} and put them into")


def test_a_wrong_file_in_the_cache_is_never_used(site: Site) -> None:
    path = cache_folder() / "set" / "x.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(NotFetchedError, match=hashlib.sha256(b"something else").hexdigest()):
        cached([remote(site)], title="X")
    fetched(remote(site))
    assert path.read_bytes() == CONTENT


def test_a_file_can_be_checked_by_its_md5(site: Site) -> None:
    file = RemoteFile(site.address + "/x.gz", f"md5:{hashlib.md5(CONTENT).hexdigest()}", "set/x.gz")
    path = fetched(file)
    assert cached([file], title="X") == [path]
    path.write_bytes(b"other")
    with pytest.raises(NotFetchedError, match=f"another MD5, {hashlib.md5(b'other').hexdigest()}"):
        cached([file], title="X")
    site.files["/x.gz"] = b"other"
    with pytest.raises(DataError, match=f"came with another MD5 and was removed.*MD5 {file.checksum[1]}"):
        fetched(file)


def test_a_missing_page_and_an_unreachable_server_are_reported(site: Site) -> None:
    with pytest.raises(DataError, match="the server answered 404 Not Found") as missing:
        fetched(remote(site, "/y.gz"))
    assert missing.value.problems[0].path == "data.kind"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        offline = RemoteFile(f"http://127.0.0.1:{nobody.getsockname()[1]}/x.gz", "0" * 64, "set/x.gz")
        with pytest.raises(DataError, match="the server cannot be reached") as refused:
            fetched(offline)
    assert offline.url in str(refused.value)
    assert left(cache_folder() / "set") == set()


def test_a_full_disk_and_a_cache_that_is_a_file_are_reported(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("nfkd.data.fetch.open_for_update", full)
        with pytest.raises(DataError, match="the disk is full"):
            fetched(remote(site))
    assert left(cache_folder() / "set") == set()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="could not be written to"):
        fetched(remote(site))


def test_a_cancelled_download_can_be_resumed(site: Site) -> None:
    class CancelledError(Exception):
        pass

    def cancel(_name: str, received: int, _total: int) -> None:
        if received > 300_000:
            raise CancelledError

    with pytest.raises(CancelledError):
        fetched(remote(site), cancel)
    path = fetched(remote(site))
    assert path.read_bytes() == CONTENT
    assert site.asked[-1][1] is not None


def test_a_file_that_is_wanted_twice_at_once_is_downloaded_once(site: Site) -> None:
    file = remote(site)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: fetched(file).read_bytes(), range(2)))
    assert found == [CONTENT, CONTENT]
    assert len(site.asked) == 1


def test_a_folder_of_the_user_is_used_as_it_is(site: Site, tmp_path: Path) -> None:
    file = remote(site)
    with pytest.raises(DataError, match="there is no such folder") as none:
        fetch([file], str(tmp_path / "none"), silent, title="X")
    assert none.value.problems[0].path == "data.folder"
    with pytest.raises(DataError, match=r"holds no x\.gz or x"):
        fetch([file], str(tmp_path), silent, title="X")
    with pytest.raises(DataError, match="there is no such folder"):
        cached([file], "a\0b", title="X")
    (tmp_path / "x").write_bytes(b"unpacked")
    before = stamp(candidates([file], str(tmp_path)))
    assert cached([file], str(tmp_path), title="X") == [tmp_path / "x"]
    (tmp_path / "x.gz").write_bytes(b"packed")
    assert cached([file], str(tmp_path), title="X") == [tmp_path / "x.gz"]
    assert stamp(candidates([file], str(tmp_path))) != before
    assert site.asked == []
