"""Downloads from a server on the loopback: whole or not at all, checked, taken up again, with words when they fail."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import socket
from collections.abc import Iterator
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


def test_a_file_comes_whole_with_its_progress_and_only_once(site: Site) -> None:
    told: list[tuple[str, int, int]] = []
    file = remote(site)
    with pytest.raises(NotFetchedError) as missing:
        cached([file], title="X", event_shape=(1, 2, 2))
    assert missing.value.files == [file]
    assert missing.value.event_shape == (1, 2, 2)
    for word in (file.url, str(cache_folder() / "set")):
        assert word in str(missing.value)
        assert word in missing.value.by_hand

    path = fetched(file, lambda *progress: told.append(progress))
    assert path == cache_folder() / "set" / "x.gz"
    assert path.read_bytes() == CONTENT
    assert told[0] == ("x.gz", 0, len(CONTENT))
    assert told[-1] == ("x.gz", len(CONTENT), len(CONTENT))
    assert [come for _, come, _ in told] == sorted(come for _, come, _ in told)
    assert cached([file], title="X") == [path]
    assert fetched(file, silent) == path
    assert len(site.asked) == 1
    assert left(path.parent) == {"x.gz"}


@pytest.mark.parametrize("ranges", [True, False], ids=["resumed", "sent whole again"])
def test_a_cut_download_is_taken_up_again(site: Site, ranges: bool) -> None:
    site.cut, site.ranges = 400_000, ranges
    with pytest.raises(DataError, match="connection was cut; the received bytes are kept") as cut:
        fetched(remote(site))
    assert site.address in str(cut.value)
    assert left(cache_folder() / "set") == {"x.gz.part"}

    site.cut = None
    told: list[int] = []
    path = fetched(remote(site), lambda _, come, __: told.append(come))
    assert path.read_bytes() == CONTENT
    assert site.asked[-1] == ("/x.gz", "bytes=400000-")
    assert told[0] == (400_000 if ranges else 0)


@pytest.mark.parametrize("begun", [len(CONTENT), len(CONTENT) + 5], ids=["as long", "longer"])
def test_a_part_that_is_as_long_as_the_file_is_brought_anew(site: Site, begun: int) -> None:
    part = cache_folder() / "set" / "x.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(begun))
    path = fetched(remote(site))
    assert path.read_bytes() == CONTENT


def test_an_answer_with_another_range_is_not_appended(site: Site) -> None:
    part = cache_folder() / "set" / "x.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    site.shift = 1
    path = fetched(remote(site))
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_removed_and_told_of(site: Site) -> None:
    site.files["/x.gz"] = CONTENT[:-1] + b"!"
    file = remote(site)
    with pytest.raises(DataError, match="came with another SHA-256 and was removed") as wrong:
        fetched(file)
    for word in (file.url, file.sha256, str(cache_folder() / "set")):
        assert word in str(wrong.value)
    assert left(cache_folder() / "set") == set()
    with pytest.raises(NotFetchedError):
        cached([file], title="X")


def test_the_address_of_several_files_in_one_folder_is_said_once(site: Site) -> None:
    near = [RemoteFile(f"{site.address}/d/{name}", "0" * 64, f"set/{name}") for name in ("a.gz", "b.gz", "c.gz")]
    with pytest.raises(NotFetchedError) as missing:
        cached(near, title="X")
    words = f"get a.gz, b.gz and c.gz from {site.address}/d/ and put them into {cache_folder() / 'set'}"
    assert missing.value.by_hand == words
    far = RemoteFile(f"{site.address}/e/d.gz", "0" * 64, "set/d.gz")
    with pytest.raises(NotFetchedError) as missing:
        cached([near[0], far], title="X")
    assert missing.value.by_hand.startswith(f"get {near[0].url} and {far.url} and put them into")


def test_a_wrong_file_put_there_by_hand_is_never_used(site: Site) -> None:
    path = cache_folder() / "set" / "x.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(NotFetchedError, match=hashlib.sha256(b"something else").hexdigest()):
        cached([remote(site)], title="X")
    fetched(remote(site))
    assert path.read_bytes() == CONTENT


def test_an_md5_serves_where_no_more_is_published(site: Site) -> None:
    file = RemoteFile(site.address + "/x.gz", f"md5:{hashlib.md5(CONTENT).hexdigest()}", "set/x.gz")
    path = fetched(file)
    assert cached([file], title="X") == [path]
    path.write_bytes(b"other")
    with pytest.raises(NotFetchedError, match=f"another MD5, {hashlib.md5(b'other').hexdigest()}"):
        cached([file], title="X")
    site.files["/x.gz"] = b"other"
    with pytest.raises(DataError, match=f"came with another MD5 and was removed.*MD5 {file.checksum[1]}"):
        fetched(file)


def test_a_missing_page_and_a_silent_machine_are_told_of_in_words(site: Site) -> None:
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


def test_a_full_disk_is_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("nfkd.data.fetch.open_for_update", full)
        with pytest.raises(DataError, match="the disk is full"):
            fetched(remote(site))
    assert left(cache_folder() / "set") == set()


def test_a_cache_that_cannot_be_made_is_told_of(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="could not be written to"):
        fetched(remote(site))


def test_a_download_that_is_called_off_can_be_taken_up_again(site: Site) -> None:
    class CalledOffError(Exception):
        pass

    def call_off(_name: str, come: int, _total: int) -> None:
        if come > 300_000:
            raise CalledOffError

    with pytest.raises(CalledOffError):
        fetched(remote(site), call_off)
    path = fetched(remote(site))
    assert path.read_bytes() == CONTENT
    assert site.asked[-1][1] is not None


def bring(file: RemoteFile) -> bytes:
    path = fetched(file)
    return path.read_bytes()


def test_two_processes_bring_a_file_once(site: Site) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(bring, [remote(site)] * 2, chunksize=1)
        pool.close()
        pool.join()
    assert found == [CONTENT, CONTENT]
    assert len(site.asked) == 1


def test_a_folder_of_the_users_is_taken_as_it_is(site: Site, tmp_path: Path) -> None:
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
