"""Reading a damaged store page by page, as SQLite's file format documents it: what SQLite itself refuses to read.

The latest version of each page counts, whether it stands in the log or in the file; free pages hold what was deleted.
Loaded only when there is damage. Nothing is written.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli.outbox.rows import read_row
from logsh_cli.outbox.schema import SALT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE_BYTES = 4096
_WAL_HEADER, _FRAME_HEADER = 32, 24
_TABLE_LEAF, _TABLE_INNER, _INDEX_LEAF, _INDEX_INNER = 13, 5, 10, 2
_COLUMNS_V1 = 13
_REAL_COLUMNS = (4, 6, 8, 12)
_FILE_HEADER = 100
_ABSURD_ID = 2**48
_LONGEST_RECORD = 2**22
_MAGIC = b"SQLite format 3\0"


class Salvage(NamedTuple):
    """The part of a store that could be read, and the extent of the rest.

    ``rows`` have the columns of ``events`` in the order of the schema. ``unread`` is the number of events that are
    known to be missing, ``bad_pages`` that of pages of which nothing is known.
    """

    rows: list[tuple[Any, ...]]
    salt: bytes | None
    dropped: int
    sequence: int
    unread: int
    bad_pages: int

    def missing(self) -> str:
        """Return how much could not be read, in words; nothing when nothing is missing."""
        if self.unread:
            return f"{self.unread} could not be read"
        pages = f"{self.bad_pages} page{'s' if self.bad_pages > 1 else ''}"
        return f"{pages}, which may have held more, could not be read" if self.bad_pages else ""

    def told(self) -> str:
        """Return what a new store has of it, in words."""
        number = len(self.rows)
        have = f"with the {number} event{'' if number == 1 else 's'} that could be read" if number else "without events"
        return f"{have}; {self.missing()}" if self.missing() else have


class _Page(NamedTuple):
    """A page's kind, the records of its cells, the pages below it, and how many of its cells are broken."""

    kind: int
    records: list[tuple[int, list[Any]]]
    below: list[int]
    broken: int


class _Reader:
    """The pages of one file and its log."""

    def __init__(self, db: bytes, wal: bytes) -> None:
        self.db = db
        self.older: list[bytes] = []
        self.latest: dict[int, bytes] = {}
        self.overflow: set[int] = set()
        self.count = -(-len(db) // PAGE_BYTES)
        self._read_log(wal)
        head = self.page(1) or bytes(100)
        sound = head.startswith(_MAGIC)
        if sound and not self.latest:
            self.count = max(self.count, int.from_bytes(head[28:32]) % 2**24)
        self.count = max(self.count, 1)
        self.free = self._free_pages(int.from_bytes(head[32:36]) if sound else 0)

    def page(self, number: int) -> bytes | None:
        """Return the latest version of a page; ``None`` when it was cut off."""
        page = self.latest.get(number) or self.db[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]
        return page if len(page) == PAGE_BYTES else None

    def _read_log(self, wal: bytes) -> None:
        # The log is written from its beginning: up to the last frame with its salt all are of this round, whatever has
        # become of their headers, and those behind it of an earlier one.
        size = _FRAME_HEADER + PAGE_BYTES
        starts = range(_WAL_HEADER, len(wal) - size + 1, size)
        salts = [wal[start + 8 : start + 16] for start in starts]
        salt = next((salt for salt in (wal[16:24], *salts[:1]) if salt in salts), b"")
        uncommitted: dict[int, bytes] = {}
        for start, _ in zip(starts, range(len(salts) - salts[::-1].index(salt) if salt else 0), strict=False):
            number, count = struct.unpack_from(">II", wal, start)
            uncommitted[number] = wal[start + _FRAME_HEADER : start + size]
            if count:
                for changed, page in uncommitted.items():
                    if (before := self.page(changed)) is not None:
                        self.older.append(before)
                    self.latest[changed] = page
                uncommitted.clear()
                self.count = count % 2**24

    def _free_pages(self, trunk: int) -> set[int]:
        free: set[int] = set()
        while trunk and trunk not in free and (page := self.page(trunk)) is not None:
            free.add(trunk)
            trunk, number = struct.unpack_from(">II", page)
            if number <= PAGE_BYTES // 4 - 2:
                free.update(struct.unpack_from(f">{number}I", page, 8))
        return free

    def parse(self, page: bytes, start: int = 0) -> _Page | None:
        """Return what is in a page of a table or an index, which begins at ``start``; ``None`` for any other page."""
        kind = page[start]
        if kind not in (_TABLE_LEAF, _TABLE_INNER, _INDEX_LEAF, _INDEX_INNER):
            return None
        inner = kind in (_TABLE_INNER, _INDEX_INNER)
        (cells,) = struct.unpack_from(">H", page, start + 3)
        if start + 8 + 4 * inner + 2 * cells > PAGE_BYTES:
            return None
        records, broken = [], 0
        below = [int.from_bytes(page[start + 8 : start + 12])] if inner else []
        for at in struct.unpack_from(f">{cells}H", page, start + 8 + 4 * inner):
            try:
                if inner:
                    below.append(int.from_bytes(page[at : at + 4]))
                if kind != _TABLE_INNER:
                    records.append(self._cell(page, at + 4 * inner, table=kind == _TABLE_LEAF))
            except (ValueError, IndexError, struct.error):
                broken += 1
        return _Page(kind, records, below, broken)

    def _cell(self, page: bytes, at: int, *, table: bool) -> tuple[int, list[Any]]:
        length, at = _varint(page, at)
        row_id, at = _varint(page, at) if table else (0, at)
        most = PAGE_BYTES - 35 if table else (PAGE_BYTES - 12) * 64 // 255 - 23
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        local = length
        if length > most:
            surplus = least + (length - least) % (PAGE_BYTES - 4)
            local = surplus if surplus <= most else least
        payload = page[at : at + local]
        following = int.from_bytes(page[at + local : at + local + 4]) if local < length else 0
        while len(payload) < length:
            more = self.page(following)
            if more is None or following in self.free or length > _LONGEST_RECORD:
                raise ValueError
            self.overflow.add(following)
            payload += more[4 : 4 + length - len(payload)]
            following = int.from_bytes(more[:4])
        return row_id, list(_record(payload))

    def tree(self, root: int) -> list[_Page] | None:
        """Return the leaves of a whole table; ``None`` when a page of it is damaged."""
        leaves, todo, seen = [], [root], set()
        while todo:
            number = todo.pop()
            page = self.page(number)
            parsed = None if page is None or number in seen or number in self.free else self.parse(page)
            if parsed is None or parsed.broken or parsed.kind not in (_TABLE_LEAF, _TABLE_INNER):
                return None
            seen.add(number)
            todo += parsed.below
            leaves += [parsed] if parsed.kind == _TABLE_LEAF else []
        return leaves


def salvage(path: Path) -> Salvage:
    """Read what can be read of the store at ``path`` and of the log beside it.

    Raises:
        OSError: not even the bytes can be read.
    """
    wal = path.with_name(path.name + "-wal")
    there = path.exists()
    log = wal.read_bytes() if wal.exists() else b""
    reader = _Reader(path.read_bytes() if there else b"", log)
    pages, strange = [], set()
    for number in set(range(1, reader.count + 1)) - reader.free:
        page = reader.page(number)
        if page is not None and (parsed := reader.parse(page, _FILE_HEADER if number == 1 else 0)) is not None:
            pages.append(parsed)
        else:
            strange.add(number)
    records = [record for page in pages if page.kind == _TABLE_LEAF for record in page.records]
    facts = _facts(records)
    leaves = reader.tree(facts.root)
    entries = [values for page in pages if page.kind != _TABLE_LEAF for _, values in page.records]
    known = {values[-1] for values in entries if _is_entry(values)}
    rows: dict[int, tuple[Any, ...]] = {}
    for row_id, values in records if leaves is None else (record for leaf in leaves for record in leaf.records):
        if len(values) >= _COLUMNS_V1 and 0 < row_id < _ABSURD_ID:
            known.add(row_id)
        if (row := _event(row_id, values)) is not None:
            rows.setdefault(row_id, row)
    # A page that stands where it does not belong, or an older version of one, may hold what an index knows of.
    older = [parsed for page in reversed(reader.older) if (parsed := reader.parse(page)) and parsed.kind == _TABLE_LEAF]
    for row_id, values in [*records, *(record for page in older for record in page.records)]:
        if row_id in known and row_id not in rows and (row := _event(row_id, values)) is not None:
            rows[row_id] = row
    return Salvage(
        rows=[rows[row_id] for row_id in sorted(rows)],
        salt=facts.salt,
        dropped=facts.dropped,
        sequence=max([*known, *rows, facts.sequence]),
        unread=len(known - rows.keys()),
        bad_pages=0 if leaves is not None or not (there or log) else max(1, len(strange - reader.overflow)),
    )


class _Facts(NamedTuple):
    """The content of the small tables: where the events begin, the store's salt and count, the highest id."""

    root: int
    salt: bytes | None
    dropped: int
    sequence: int


def _facts(records: list[tuple[int, list[Any]]]) -> _Facts:
    facts = _Facts(0, None, 0, 0)
    for _, values in records:
        match values:
            case ["table", "events", "events", int(root), _]:
                facts = facts._replace(root=root)
            case [bytes(salt), *counted] if len(salt) == SALT_BYTES:
                dropped = counted[0] if counted and isinstance(counted[0], int) else 0
                facts = facts._replace(salt=salt, dropped=dropped)
            case ["events", int(sequence)] if 0 <= sequence < _ABSURD_ID:
                facts = facts._replace(sequence=sequence)
    return facts


def _is_entry(values: list[Any]) -> bool:
    """Tell whether this is an entry of one of the two indexes of ``events``: a key that ends with an id."""
    match values:
        case [str(), str(), int() | float(), int() | float(), int(row_id)] | [int() | float(), int(row_id)]:
            return 0 < row_id < _ABSURD_ID
    return False


def _event(row_id: int, values: list[Any]) -> tuple[Any, ...] | None:
    if len(values) < _COLUMNS_V1 or values[0] is not None or not 0 < row_id < _ABSURD_ID:
        return None
    for column in _REAL_COLUMNS:  # stored as integers where they are whole
        if isinstance(values[column], int):
            values[column] = float(values[column])
    row = (row_id, *[*values[1:], None][:_COLUMNS_V1])  # a later version may have more columns, the first has one less
    _, profile, key, body, accepted_at, attempts, not_before, _, lease_until, *rest = row
    seen = read_row((row_id, profile, key, body, accepted_at, attempts, not_before, lease_until, *rest), 0.0)
    return None if seen.state == "damaged" else row


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        value = value << 7 | data[at + index] & 0x7F
        if data[at + index] < 0x80:  # noqa: PLR2004 - the bit that says: more follows
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> Iterator[Any]:
    header, at = _varint(payload, 0)
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    at = header
    for kind in kinds:
        size = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind] if kind < 10 else (kind - 12) // 2  # noqa: PLR2004 - the format's
        value = payload[at : at + size]
        if len(value) != size or kind in (10, 11):
            raise ValueError
        at += size
        if kind == 0:
            yield None
        elif kind == 7:  # noqa: PLR2004 - the format's
            yield struct.unpack(">d", value)[0]
        elif kind < 10:  # noqa: PLR2004 - the format's
            yield kind - 8 if kind > 7 else int.from_bytes(value, signed=True)  # noqa: PLR2004 - the format's
        else:
            yield value.decode("utf-8", "replace") if kind % 2 else value
