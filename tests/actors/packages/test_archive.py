"""Archives from anywhere: nothing leads out of them, nothing is larger than it may be."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest

from actors.packages import archive
from actors.packages.archive import read_archive, write_archive
from actors.packages.errors import PackageRefused


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return out.getvalue()


def test_what_is_written_is_read_and_the_same_files_are_the_same_bytes() -> None:
    files = {"b/c.py": b"2", "a.py": b"1" * 1000}
    data = write_archive(files)
    assert read_archive(data, "it") == files
    assert write_archive(dict(reversed(files.items()))) == data
    assert read_archive(zipped(("folder/", b""), ("folder/a.py", b"x")), "it") == {"folder/a.py": b"x"}


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/passwd", "a/../../b.py", "a\\b.py", "C:/x.py", "a//b.py", "./a.py"]
)
def test_a_path_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(PackageRefused, match=r"it: .* leads out of the package"):
        read_archive(zipped((name, b"x")), "it")


def test_links_and_devices_are_refused() -> None:
    for kind in (stat.S_IFLNK, stat.S_IFCHR):
        entry = zipfile.ZipInfo("a.py")
        entry.external_attr = (kind | 0o777) << 16
        with pytest.raises(PackageRefused, match="is a link or no plain file"):
            read_archive(zipped((entry, b"/etc/passwd")), "it")


def test_a_bomb_is_refused_whatever_it_says_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_BYTES_MAX", 5_000_000)
    bomb = zipped(("a.py", bytes(6_000_000)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    with pytest.raises(PackageRefused, match="unpacked it has more than 5000000 bytes"):
        read_archive(bomb, "it")
    lying = bomb.replace((6_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(PackageRefused):
        read_archive(lying, "it")
    with pytest.raises(PackageRefused, match="6000000 bytes; the limit is"):
        write_archive({"a.py": bytes(6_000_000)})


def test_limits_of_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FILES_MAX", 2)
    many = {f"{n}.py": b"" for n in range(3)}
    with pytest.raises(PackageRefused, match="3 entries; a package has 2 files at most"):
        read_archive(zipped(*many.items()), "it")
    with pytest.raises(PackageRefused, match="3 files; the limit is 2"):
        write_archive(many)
    with pytest.raises(PackageRefused, match="200 printable characters"):
        read_archive(zipped(("a\x01.py", b"")), "it")
    monkeypatch.setattr(archive, "PACKAGE_BYTES_MAX", 100)
    with pytest.raises(PackageRefused, match="a package has 100 at most"):
        read_archive(zipped(("a.py", bytes(200))), "it")
    with pytest.raises(PackageRefused, match="the limit is 100"):
        write_archive({"a.py": bytes(200)})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_no_archive() -> None:
    with pytest.raises(PackageRefused, match="stands twice"):
        read_archive(zipped(("a.py", b"1"), ("a.py", b"2")), "it")
    for data in (b"", b"no zip", zipped(("a.py", b"x"))[:-10]):
        with pytest.raises(PackageRefused, match="not a zip archive that can be read"):
            read_archive(data, "it")
    encrypted = bytearray(zipped(("a.py", b"x" * 20)))
    for head in (b"PK\x03\x04", b"PK\x01\x02"):
        encrypted[encrypted.index(head) + (6 if head[2] == 3 else 8)] |= 1
    with pytest.raises(PackageRefused, match="is encrypted"):
        read_archive(bytes(encrypted), "it")
