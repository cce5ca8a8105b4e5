"""What is wrong with a row, said in one line that names file and line."""

from __future__ import annotations

import reprlib

from delivery.errors import ClientDataError

KEPT = 20


class RowProblems(ClientDataError):
    """Rows that cannot be read. The message is the first problem; ``problems`` holds the first ones in file order."""

    def __init__(self, problems: tuple[str, ...], total: int) -> None:
        self.problems = problems
        self.total = total
        super().__init__(problems[0] if total == 1 else f"{problems[0]} (and {total - 1} more)")


class BadRow(Exception):
    """Why one row cannot be used, and in which field."""

    def __init__(self, what: str, *, field: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.field = field


class BrokenFile(BadRow):
    """Why nothing from ``line`` on can be read."""

    def __init__(self, what: str, *, line: int) -> None:
        super().__init__(what)
        self.line = line


class Problems:
    """Collects problems over all files: keeps the first ``KEPT``, counts the rest."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self.total = 0

    def add(self, source: str, line: int, bad: BadRow) -> None:
        """Note one row's problem as ``file:line: field: what; remedy``, whatever the values hold on one line."""
        self.total += 1
        if len(self._kept) < KEPT:
            field = f"{bad.field}: " if bad.field else ""
            self._kept.append(" ".join(f"{source}:{line}: {field}{bad.what}".split()))

    @property
    def kept(self) -> tuple[str, ...]:
        """The first problems, in file order."""
        return tuple(self._kept)

    def raise_if_any(self) -> None:
        """End the reading when something was wrong.

        Raises:
            RowProblems: naming the first problem and how many there are besides.
        """
        if self.total:
            raise RowProblems(self.kept, self.total)


def quoted(value: object, limit: int = 40) -> str:
    """A value as a message may show it: escaped, and cut to ``limit`` characters."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return repr(text if len(text) <= limit else f"{text[: limit - 1]}…")
