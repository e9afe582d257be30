"""Read the audit trail for pages: the newest first, with a bounded number of reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch_watchdog.notices.text import iso
from batch_watchdog.page import trail
from batch_watchdog.page.trail import TrailRow
from batch_watchdog.store.actions import PREFIX, Action, to_action
from batch_watchdog.store.commands import PREFIX as COMMANDS
from batch_watchdog.store.item_codec import Item, unpack
from batch_watchdog.store.table import Table

DAYS_MAX = 14  # the last days of a range, which are read

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailReader:
    """Reads actions and commands of a time range, the newest first."""

    table: Table

    def actions(self, start: datetime, end: datetime, most: int) -> list[Action]:
        """Return the actions that the watchdog has recorded, `most` of them at most."""
        return list(map(to_action, self._latest(PREFIX, start, end, most)))

    def commands(self, start: datetime, end: datetime, most: int) -> list[TrailRow]:
        """Return the commands that operators have sent, `most` of them at most."""
        return [
            trail.of_command(
                at=str(item["at"]),
                by=str(item["by"]),
                command=unpack(item["body"]),
                decided=str(item["decided"]),
                request=str(item.get("request", "")),
            )
            for item in self._latest(COMMANDS, start, end, most)
        ]

    def _latest(self, prefix: str, start: datetime, end: datetime, most: int) -> Iterator[Item]:
        """Yield the newest first: one read a day, of the last two weeks of the range at most."""
        day, left, days = end, most, DAYS_MAX
        while left > 0 and days > 0 and iso(day)[:10] >= iso(start)[:10]:
            found = self.table.latest(
                f"{prefix}{iso(day)[:10]}", left, first=iso(start), last=f"{iso(end)}~"
            )
            yield from found
            day, left, days = day - _DAY, left - len(found), days - 1


def newest(rows: list[TrailRow], most: int) -> list[TrailRow]:
    """Return at most `most` rows, the newest first."""
    return sorted(rows, key=lambda row: row.at, reverse=True)[:most]


def row_of(action: Action) -> TrailRow:
    """Return an action as a row."""
    return trail.of_action(action.at, action.asked_by, action.effect, action.result)
