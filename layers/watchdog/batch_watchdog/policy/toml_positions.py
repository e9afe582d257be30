"""
Find the line of each key in a TOML text.

`tomllib` returns values without their positions, so the text is scanned a second time. The scan
assumes valid TOML, since `tomllib` has read the text before; that keeps it small.
"""

import re
import tomllib
from collections import Counter

type KeyPath = tuple[str | int, ...]  # ("limit", 0, "RUNNABLE", "after"); lists count from 0

_TOKEN = re.compile(
    r"""
      (?P<string> \"{3} (?: [^\\] | \\. )*? \"{3} \"{0,2}
                | '{3} .*? '{3} '{0,2}
                | " (?: [^"\\] | \\. )* "
                | ' [^']* ' )
    | (?P<skip> [\ \t\r]+ | \#[^\n]* )
    | (?P<mark> [\[\]{}=,.\n] )
    | (?P<bare> [^\s\[\]{}=,."'\#]+ )
    """,
    re.DOTALL | re.VERBOSE,
)


def lines_of_keys(text: str) -> dict[KeyPath, int]:
    """
    Return the line, counted from 1, of every table, key and list element of a TOML text.

    The text must have passed `tomllib`; for any other text the result has no meaning.
    """
    return _Walk(text).lines


class _Walk:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tables: Counter[KeyPath] = Counter()  # how many [[tables]] of a name so far
        self._tokens: list[tuple[str, int]] = []
        line = 1
        for token in _TOKEN.finditer(text):
            if token.lastgroup != "skip":
                self._tokens.append((token.group(), line))
            line += token.group().count("\n")
        self._tokens.append(("", line))
        self._at = 0
        self._document()

    def _peek(self) -> str:
        return self._tokens[self._at][0]

    def _take(self) -> str:
        token = self._peek()
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _document(self) -> None:
        table: KeyPath = ()
        while True:
            match self._peek():
                case "":
                    return
                case "\n":
                    self._take()
                case "[":
                    table = self._header()
                case _:
                    self._assignment(table)

    def _header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]`, and return the path that it names, from the root."""
        self._take()
        is_list = self._peek() == "["
        if is_list:
            self._take()
        line = self._tokens[self._at][1]
        path: KeyPath = ()
        *parents, name = self._key()
        for part in parents:
            path = self._latest((*path, part), line)
        path = (*path, name)
        if is_list:
            self._tables[path] += 1
        path = self._latest(path, line)
        self.lines[path] = line
        while self._take() not in ("\n", ""):
            pass
        return path

    def _latest(self, path: KeyPath, line: int) -> KeyPath:
        """Add the index of the latest [[table]] of this name: headers refer to that one."""
        self.lines.setdefault(path, line)
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _assignment(self, table: KeyPath) -> None:
        line, path = self._tokens[self._at][1], table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._take()  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        parts = [self._key_part()]
        while self._peek() == ".":
            self._take()
            parts.append(self._key_part())
        return parts

    def _key_part(self) -> str:
        token = self._take()
        return str(tomllib.loads(f"key = {token}")["key"]) if token[:1] in ("'", '"') else token

    def _value(self, path: KeyPath) -> None:
        match self._peek():
            case "[":
                self._list(path)
            case "{":
                self._inline_table(path)
            case _:
                while self._peek() not in (",", "]", "}", "\n", ""):
                    self._take()

    def _list(self, path: KeyPath) -> None:
        self._take()
        index = 0
        while self._peek() not in ("]", ""):
            if self._peek() in (",", "\n"):
                self._take()
                continue
            self.lines[*path, index] = self._tokens[self._at][1]
            self._value((*path, index))
            index += 1
        self._take()

    def _inline_table(self, path: KeyPath) -> None:
        self._take()
        while self._peek() not in ("}", ""):
            if self._peek() in (",", "\n"):
                self._take()
            else:
                self._assignment(path)
        self._take()
