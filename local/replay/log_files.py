"""
Reads the files of a log as text: one file, a folder, or standard input, gzipped or not.

A file is read in pieces, so that a large one needs no more memory than a small one.
"""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from local.replay.errors import InputError

STDIN = Path("-")

WHERE_EVENTS_ARE = "; make pull-events brings the events that a stack has kept"

_PIECE = 1 << 20  # characters of one line that are read at once
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")
# AWS writes this file into a bucket before it exports logs to it.
_NO_LOGS = {"aws-logs-write-test"}


class Piece(NamedTuple):
    """A line, or a part of a very long one. The last piece of a line ends with the line break."""

    line: int  # counted from 1
    text: str


def name_of(path: Path) -> str:
    return "stdin" if path == STDIN else str(path)


def files_of(path: Path) -> list[Path]:
    """
    Return the files of a log, in order of their names. Hidden files are passed over.

    Raises:
        InputError: a folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(
        (each for each in path.rglob("*") if each.is_file() and _is_log(each.relative_to(path))),
        key=lambda each: each.parts,
    )
    if not found:
        raise InputError(f"{path}: a folder without files, expected logs of events in it")
    return found


def _is_log(path: Path) -> bool:
    return path.name not in _NO_LOGS and not any(part.startswith(".") for part in path.parts)


def pieces_of(path: Path) -> Iterator[Piece]:
    """
    Yield a file's text, piece by piece: UTF-8 or UTF-16, gzipped or not.

    Raises:
        InputError: it cannot be read, or is not such a text.
    """
    try:
        with _opened(path) as file:
            yield from _pieces(file, name_of(path))
    except gzip.BadGzipFile as error:
        raise InputError(f"{name_of(path)}: broken gzip: {error}") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{name_of(path)}: broken gzip: it is cut off, or damaged") from error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            f"{name_of(path)}: cannot be read: {error.strerror or error}"
            f"{WHERE_EVENTS_ARE if missing else ''}"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    if path == STDIN:
        yield cast(io.BufferedReader, sys.stdin.buffer)
        return
    with path.open("rb") as file:
        yield file


def _pieces(file: io.BufferedReader, name: str) -> Iterator[Piece]:
    while (head := file.peek(4)[:4]).startswith(_GZIP):
        file = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=cast(BinaryIO, file))))
    if head.startswith(_ZIP):
        raise InputError(f"{name}: a zip archive, expected it to be unpacked")
    # A byte that is not UTF-8 becomes a lone surrogate, which shows its place.
    encoding = _encoding(head)
    text = io.TextIOWrapper(file, encoding, "surrogateescape", newline="\n")
    try:
        line, start = 1, 0  # `start`: bytes of the line in earlier pieces
        while piece := text.readline(_PIECE):
            while piece.endswith("\\"):  # Do not split an escape.
                if not (more := text.read(1)):
                    break
                piece += more
            if encoding == "utf-8" and not piece.isascii() and _NOT_UTF_8.search(piece):
                raise InputError(f"{name}:{line}: {_what_is_wrong(piece, start)}")
            yield Piece(line, piece)
            ended = piece.endswith("\n")
            start = 0 if ended else start + len(piece.encode("utf-8", "surrogatepass"))
            line += ended
    except UnicodeError as error:
        raise InputError(f"{name}:{line}: not {encoding}, expected JSON in UTF-8") from error
    finally:
        text.detach()


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(head) > 1 and 0 in head[:2] and any(head[:2]):
        return "utf-16-be" if head[0] == 0 else "utf-16-le"
    return "utf-8"


def _what_is_wrong(piece: str, start: int) -> str:
    try:
        piece.encode("utf-8", "surrogateescape").decode()
    except UnicodeDecodeError as error:
        return (
            f"byte {start + error.start + 1} is not UTF-8 ({error.reason}), "
            "expected a JSON object in UTF-8"
        )
    return "not UTF-8, expected a JSON object in UTF-8"
