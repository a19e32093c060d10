"""Texts from files: a folder for each category, CSV, Parquet."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from featurelib.errors import FeatureError
from featurelib.text.feature import TextFeature

__all__ = ["csv_rows", "decoded", "folder_texts", "parquet_texts"]


def decoded(name: str, data: bytes, encoding: str = "utf-8") -> str:
    """A file's bytes as text, without a byte order mark; raises `FeatureError` naming the file."""
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise FeatureError(
            f"{name} must be {encoding}. Received: {error.reason} at byte {error.start}. Hint: read(..., encoding=...)."
        ) from None
    except LookupError as error:
        raise FeatureError(f"encoding must be one that Python knows. Received: {error}.") from None


def folder_texts(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[TextFeature]:
    """The files in the folders of a folder, both by name; labels count the folders that hold files.

    Names that begin with a dot or an underscore are left out, as Spark does.
    """
    folders = sorted(one for one in Path(path).iterdir() if one.is_dir() and _is_shown(one))
    filled = [files for files in map(_files, folders) if files]
    if not filled:
        raise FeatureError(f"{path} must hold a folder with files for each category. Received: none.")
    for label, files in enumerate(filled):
        for file in files:
            yield TextFeature(decoded(str(file), file.read_bytes(), encoding), label, str(file))


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_file() and _is_shown(one))


def _is_shown(path: Path) -> bool:
    return not path.name.startswith((".", "_"))


def csv_rows(path: str | os.PathLike, names: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file without header, with their lines; raises `FeatureError` for one without these columns."""
    count = names.count(",") + 1
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                if row and len(row) != count:
                    raise FeatureError(
                        f"{path}, line {reader.line_num}: expected {names}, received {len(row)} values. "
                        "Hint: a text with commas needs quotes."
                    )
                if row:
                    yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise FeatureError(f"{path} must be CSV in UTF-8. Received: {error}.") from None


def parquet_texts(path: str | os.PathLike) -> Iterator[TextFeature]:
    """The rows of a Parquet file or folder with the columns id and text."""
    import pyarrow.parquet  # a folder or CSV needs none

    table = pyarrow.parquet.read_table(path)
    missing = {"id", "text"} - set(table.column_names)
    if missing:
        raise FeatureError(f"{path} must have the columns id and text. Received: {', '.join(table.column_names)}.")
    for uri, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
        yield TextFeature(text, uri=None if uri is None else str(uri))
