"""Reading a damaged store page by page, as SQLite's file format documents it: what SQLite itself refuses to read.

The latest version of each page counts, whether it stands in the log or in the file; free pages hold what was deleted.
Loaded only when there is damage. Nothing is written.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from logsh_cli import Record
from logsh_cli.outbox.rows import ABSURD_ID, PAGE_BYTES, SALT_BYTES, Salvage, read_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAL_HEADER, _FRAME_HEADER, _FILE_HEADER = 32, 24, 100
_TABLE_LEAF, _TABLE_INNER, _INDEX_LEAF, _INDEX_INNER = 13, 5, 10, 2
_INTEGER_BYTES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
_COLUMNS_V1 = 13
_LONGEST_RECORD = 2**22
_MAGIC = b"SQLite format 3\0"

_Records = list[tuple[int, list[Any]]]
"""Ids, 0 in an index, with the values beside them."""


class _Page(Record):
    """A page's kind, the records of its cells, the pages below it, and how many of its cells are broken."""

    kind: int
    records: _Records
    below: list[int]
    broken: int


class _Reader:
    """The pages of one file and its log, by their numbers; ``older`` are those that the log has replaced."""

    def __init__(self, db: bytes, wal: bytes) -> None:
        starts = range(0, len(db), PAGE_BYTES)
        # Of a page that was cut off, SQLite, too, reads the rest as zeros.
        self.pages = {n: db[at : at + PAGE_BYTES].ljust(PAGE_BYTES, b"\0") for n, at in enumerate(starts, 1)}
        self.older: list[bytes] = []
        self._read_log(wal)
        head = self.pages.get(1, b"")
        self.free = self._free_pages(int.from_bytes(head[32:36]) if head.startswith(_MAGIC) else 0)

    def _read_log(self, wal: bytes) -> None:
        """Put the pages of whole transactions in the place of those before."""
        # The log is written from its beginning: up to the last frame with its salt all are of this round, whatever has
        # become of their headers, and those behind it of an earlier one.
        size = _FRAME_HEADER + PAGE_BYTES
        frames = [wal[start : start + size] for start in range(_WAL_HEADER, len(wal) - size + 1, size)]
        salts = [frame[8:16] for frame in frames]
        salt = next((salt for salt in (wal[16:24], *salts) if any(salt) and salt in salts), None)
        uncommitted: dict[int, bytes] = {}
        for frame in frames[: len(salts) - salts[::-1].index(salt)] if salt else ():
            number, count = struct.unpack_from(">II", frame)
            uncommitted[number] = frame[_FRAME_HEADER:]
            if count:
                self.older += [self.pages[number] for number in uncommitted if number in self.pages]
                self.pages |= uncommitted
                uncommitted.clear()

    def _free_pages(self, trunk: int) -> set[int]:
        free: set[int] = set()
        while trunk not in free and (page := self.pages.get(trunk)) is not None:
            free.add(trunk)
            trunk, number = struct.unpack_from(">II", page)
            if number <= PAGE_BYTES // 4 - 2:
                free.update(struct.unpack_from(f">{number}I", page, 8))
        return free

    def parse(self, page: bytes, start: int = 0) -> _Page | None:
        """Return what is in a page of a table or an index, which begins at ``start``; ``None`` for any other page."""
        kind = page[start]
        inner = kind in (_TABLE_INNER, _INDEX_INNER)
        (cells,) = struct.unpack_from(">H", page, start + 3)
        pointers = start + (12 if inner else 8)
        if not (inner or kind in (_TABLE_LEAF, _INDEX_LEAF)) or pointers + 2 * cells > PAGE_BYTES:
            return None
        records, broken = [], 0
        below = [int.from_bytes(page[start + 8 : start + 12])] if inner else []
        for at in struct.unpack_from(f">{cells}H", page, pointers):
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
            more = self.pages.get(following)
            if more is None or following in self.free or length > _LONGEST_RECORD:
                raise ValueError
            payload += more[4 : 4 + length - len(payload)]
            following = int.from_bytes(more[:4])
        return row_id, list(_record(payload))

    def tree(self, root: int) -> _Records | None:
        """Return the records of a whole table; ``None`` when a page of it is damaged."""
        records: _Records = []
        todo, seen = [root], set(self.free)
        while todo:
            number = todo.pop()
            page = None if number in seen else self.pages.get(number)
            parsed = self.parse(page) if page is not None else None
            if parsed is None or parsed.broken or parsed.kind not in (_TABLE_LEAF, _TABLE_INNER):
                return None
            seen.add(number)
            todo += parsed.below
            records += parsed.records
        return records


def salvage(path: Path) -> Salvage:
    """Read what can be read of the store at ``path`` and of the log beside it. Raises ``OSError``."""
    db, wal = (file.read_bytes() if file.exists() else b"" for file in (path, path.with_name(path.name + "-wal")))
    reader = _Reader(db, wal)
    used = ((number, page) for number, page in sorted(reader.pages.items()) if number not in reader.free)
    parsed = (reader.parse(page, _FILE_HEADER if number == 1 else 0) for number, page in used)
    pages = [page for page in parsed if page is not None]
    records = [record for page in pages if page.kind == _TABLE_LEAF for record in page.records]
    root, salt, dropped, highest = _facts(records)
    table = reader.tree(root)
    known = {
        values[-1] for page in pages for _, values in page.records if page.kind != _TABLE_LEAF and _is_entry(values)
    }
    rows: dict[int, tuple[Any, ...]] = {}
    for row_id, values in records if table is None else table:
        if len(values) >= _COLUMNS_V1 and 0 < row_id < ABSURD_ID:
            known.add(row_id)
        if (row := _event(row_id, values)) is not None:
            rows.setdefault(row_id, row)
    # A page that stands where it does not belong, or an older version of one, may hold what an index knows of.
    before = [page for page in map(reader.parse, reversed(reader.older)) if page is not None]
    for row_id, values in [*records, *(record for page in before for record in page.records)]:
        if row_id in known and row_id not in rows and (row := _event(row_id, values)) is not None:
            rows[row_id] = row
    unread = ""
    if lost := len(known - rows.keys()):
        unread = f"{lost} could not be read"
    elif table is None and (wal or path.exists()):
        unread = "some pages, which may have held more, could not be read"
    return Salvage([rows[row_id] for row_id in sorted(rows)], salt, dropped, max([*known, *rows, highest]), unread)


def _facts(records: _Records) -> tuple[int, bytes | None, int, int]:
    """Return what the small tables hold: the events' first page, the salt, how many were dropped, the highest id."""
    root, salt, dropped, highest = 0, None, 0, 0
    for _, values in records:
        match values:
            case ["table", "events", "events", int(root), _]:
                pass
            case [bytes(found), *counted] if len(found) == SALT_BYTES:
                salt = found
                dropped = counted[0] if counted and isinstance(counted[0], int) else 0
            case ["events", int(number)] if 0 <= number < ABSURD_ID:
                highest = number
    return root, salt, dropped, highest


def _is_entry(values: list[Any]) -> bool:
    """Tell whether this is an entry of an index of ``events``: a key that ends with an id."""
    match values:
        case [str(), str(), int() | float(), int() | float(), int(row_id)] | [int() | float(), int(row_id)]:
            return 0 < row_id < ABSURD_ID
    return False


def _event(row_id: int, values: list[Any]) -> tuple[Any, ...] | None:
    """Return a record as a row of ``events``; ``None`` when it is none, or a damaged one."""
    if len(values) < _COLUMNS_V1 or values[0] is not None or not 0 < row_id < ABSURD_ID:
        return None
    values = [*values[1:], None][:_COLUMNS_V1]  # a later version may have more columns, the first has one less
    for column in (3, 5, 7, 11):  # times, stored as integers where they are whole
        if isinstance(values[column], int):
            values[column] = float(values[column])
    row = (row_id, *values)
    return None if read_row(row, 0.0).state == "damaged" else row


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
        size = _INTEGER_BYTES.get(kind, (kind - 12) // 2)
        value = payload[at : at + size]
        if len(value) != size or size < 0:
            raise ValueError
        at += size
        match kind:
            case 0:
                yield None
            case 7:
                yield struct.unpack(">d", value)[0]
            case 8 | 9:
                yield kind - 8
            case _ if kind in _INTEGER_BYTES:
                yield int.from_bytes(value, signed=True)
            case _:
                yield value.decode("utf-8", "replace") if kind % 2 else value
