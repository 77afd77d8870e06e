"""Files put whole or not at all, checksums, private folders."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from vcf_pipeline.adapters.objects import (
    content_sha256,
    local_path,
    make_private_dir,
    put_atomically,
    readable_file,
)
from vcf_pipeline.domain.errors import NotFound, StoreUnavailable, UsageError


def test_a_put_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    put_atomically(path, b"one, and longer")
    put_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [found.name for found in tmp_path.iterdir()] == ["manifest.json"]


def test_a_put_that_the_disk_refuses_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.json"
    put_atomically(path, b"one")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        put_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == ["manifest.json"]


def test_the_checksum_is_the_contents_and_progress_ends_at_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    content = b"x" * (5 << 20)
    path.write_bytes(content)
    told: list[tuple[int, int]] = []
    assert content_sha256(str(path), lambda *done: told.append(done)) == (
        hashlib.sha256(content).hexdigest(),
        len(content),
    )
    assert told[-1] == (len(content), len(content))
    assert len(told) == 2


@pytest.mark.parametrize("name", ["missing.vcf", "folder", "pipe", "nul\0byte"])
def test_what_is_no_file_is_not_found_with_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound) as found:
        readable_file(f"{tmp_path}/{name}")
    assert found.value.exit_code == 3
    assert found.value.got in ("nothing", "a folder", "a pipe or device")


def test_addresses_are_local_paths_or_file_uris() -> None:
    assert local_path("/a/b c.vcf") == local_path("file:///a/b%20c.vcf") == Path("/a/b c.vcf")
    assert local_path("odd:name.vcf") == Path("odd:name.vcf")
    with pytest.raises(UsageError):
        local_path("s3://bucket/a.vcf")


def test_a_private_folder_is_its_owners_alone_even_if_it_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    make_private_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        make_private_dir(tmp_path / "file" / "below")
