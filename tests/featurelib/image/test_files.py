"""Folders as they come: hidden files, links in circles, pipes, patterns, what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from featurelib import DecodeError, FeatureError
from featurelib.image.files import class_folders, find_files, named_bytes, origin_of, read_file, split_paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/1.png", "a/3.jpg", "0.png", ".hidden.png", "_SUCCESS", "b/.git/4.png", "c d/5,6.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def found(folder: Path, *parts: str) -> list[str]:
    return [os.path.relpath(path, folder) for path in find_files([f"{folder}{part}" for part in parts])]


def test_all_files_below_a_folder_in_the_order_of_names(folder: Path) -> None:
    everything = ["0.png", "a/3.jpg", "b/1.png", "b/2.png", "c d/5,6.png"]
    assert found(folder, "") == found(folder, "/") == everything
    assert [os.path.relpath(path, folder) for path in find_files([f"file:{folder}"])] == everything
    assert found(folder, "/b", "/a/3.jpg") == ["b/1.png", "b/2.png", "a/3.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*.png", ["0.png"]),
        ("/*/*.png", ["b/1.png", "b/2.png", "c d/5,6.png"]),
        ("/{a,b}/[13].*", ["a/3.jpg", "b/1.png"]),
        ("/{a,b/?}*/", ["a/3.jpg"]),
        ("/b/{1,2}.{png,jpg}", ["b/1.png", "b/2.png"]),
        ("/?.png", ["0.png"]),
        ("/.hidden.png", [".hidden.png"]),
    ],
)
def test_patterns(folder: Path, pattern: str, expected: list[str]) -> None:
    assert found(folder, pattern) == expected


def test_a_name_is_taken_before_a_pattern(folder: Path) -> None:
    (folder / "x[0].png").touch()
    (folder / "x0.png").touch()
    assert found(folder, "/x[0].png") == ["x[0].png"]


@pytest.mark.parametrize("pattern", ["/nothing", "/*.gif", "/{x,y}"])
def test_what_matches_nothing_is_named(folder: Path, pattern: str) -> None:
    with pytest.raises(FeatureError, match=r"path must be that of a file or a folder, or match one. Received: '.*/"):
        found(folder, pattern)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, "") == []


def test_links_are_followed_but_not_in_circles(folder: Path) -> None:
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "b").symlink_to(folder / "b")
    above = [f"a/up/{name}" for name in ("0.png", "b/1.png", "b/2.png", "c d/5,6.png")]
    assert found(folder, "/a") == ["a/3.jpg", "a/b/1.png", "a/b/2.png", *above]


def test_folders_may_be_deeper_than_pythons_stack(tmp_path: Path) -> None:
    folders = [tmp_path / "/".join("a" * depth) for depth in range(1, 1200)]
    for folder in folders:
        folder.mkdir()
    (folders[-1] / "1.png").touch()
    assert list(find_files([str(tmp_path)])) == [f"{folders[-1]}/1.png"]
    (folders[-1] / "1.png").unlink()
    for folder in folders[::-1]:  # what clears the folders of tests goes down by calls of itself
        folder.rmdir()


def test_files_that_cannot_be_read_say_why(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "lost").symlink_to(folder / "gone")
    assert {"pipe", "lost"} <= set(found(folder, ""))  # they are there: reading them tells
    with pytest.raises(DecodeError, match="must be a regular one"):
        read_file(f"{folder}/pipe")
    with pytest.raises(DecodeError, match="cannot be read: No such file"):
        read_file(f"{folder}/lost")
    with pytest.raises(DecodeError, match=r"at most 3 bytes. Received: 5"):
        read_file(f"{folder}/0.png", max_bytes=3)
    with pytest.raises(FeatureError, match="/lost: the file cannot be read"):
        named_bytes(folder / "lost")
    assert named_bytes(folder / "0.png") == b"0.png"


def test_a_folder_that_is_none_is_named(folder: Path) -> None:
    with pytest.raises(FeatureError, match=r"folder '.*0.png' cannot be listed: Not a directory"):
        class_folders(f"{folder}/0.png")
    assert class_folders(f"file://{folder}") == ["a", "b", "c d"]


def test_comma_lists_and_lists(folder: Path) -> None:
    assert split_paths("a,{b,c},d") == ["a", "{b,c}", "d"]
    assert split_paths(["a,b", Path("c")]) == ["a,b", "c"]
    assert split_paths(folder / "c d" / "5,6.png") == [f"{folder}/c d/5,6.png"]
    for nothing in ("", [], ","):
        with pytest.raises(FeatureError, match="must name a file or a folder"):
            split_paths(nothing)


def test_names_of_any_bytes_have_an_origin(tmp_path: Path) -> None:
    assert origin_of(os.fsdecode(b"/a/\xff.png")) == "file:/a/\ufffd.png"
    assert origin_of("b.png") == f"file:{Path.cwd()}/b.png"


def test_commas_in_braces_of_any_depth_belong_to_a_path() -> None:
    assert split_paths("a/{b,{c,d}}/*,e}") == ["a/{b,{c,d}}/*", "e}"]


def test_a_link_to_itself_is_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "b" / "loop").symlink_to("loop")
    assert found(folder, "/b") == ["b/1.png", "b/2.png", "b/loop"]
    with pytest.raises(DecodeError, match="Too many levels of symbolic links"):
        read_file(str(folder / "b" / "loop"))


def test_a_name_that_is_too_long_matches_nothing(folder: Path) -> None:
    with pytest.raises(FeatureError, match="path must be that of a file or a folder"):
        found(folder, "/" + 5000 * "a")
