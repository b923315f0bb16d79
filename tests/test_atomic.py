"""Atomic replacement: the old file stays until the new one is complete."""

import os
import stat

import pytest

from jaxgru._atomic import replacing


def test_the_new_file_is_in_place_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "out.txt"
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_as_it_was(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one_and_a_link_stays(tmp_path):
    plain, target, link = (tmp_path / name for name in ("plain", "target", "link"))
    plain.write_text("")
    link.symlink_to(target)
    with replacing(target) as temporary:
        temporary.write_text("new")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    target.chmod(0o640)
    with replacing(link) as temporary:
        temporary.write_text("newer")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert target.read_text() == "newer"


def test_a_device_is_written_to_and_not_replaced():
    with replacing(os.devnull) as temporary:
        assert str(temporary) == os.devnull
    assert not os.path.isfile(os.devnull)


def test_errors_name_the_target(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name), replacing(tmp_path):
        pass
    missing = tmp_path / "no folder" / "out.txt"
    with pytest.raises(FileNotFoundError, match=r"no folder/out\.txt"), replacing(missing):
        pass
