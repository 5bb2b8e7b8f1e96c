"""The power fails: every write and sync of a process is recorded, and crash states are made of them.

What was synced is on the disk; of what was not, any part may be, in any order, torn at sectors. Names are as ext4's
journal has them: a beginning of what was done since the directory was last synced.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks.campaigns.toll import PATIENCE_S, ROOT, Toll, count, work

if TYPE_CHECKING:
    import random

SIZE = 600
ROUNDS = 25
SECTOR = 512

_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)", re.MULTILINE)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink,close"


class Op(NamedTuple):
    """One step: ``kind`` is write, cut, sync, link, unlink, names (the directory was synced) or said."""

    kind: str
    inode: int = 0
    at: int = 0
    data: bytes = b""
    name: str = ""


def campaign(dice: random.Random, size: int, *, synced: bool = True) -> Toll:
    """Make crash states of one recording; with ``synced=False`` as if nothing had ever been synced."""
    ops = record(ROUNDS)
    total = Toll()
    for _ in range(size):
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place) / "state"
            until = dice.randrange(1, len(ops))
            crash(ops[:until], directory, dice, synced=synced)
            said = b"".join(op.data for op in ops[:until] if op.kind == "said").decode().splitlines()
            toll = count(directory, said)
        total += toll  # an acknowledgement is not synced: one that goes with the power sends its event again
    if synced:
        control = campaign(dice, max(20, size // 20), synced=False)
        note = f"{size} states; doubled: the acknowledgement went with the power; without syncs {control.lost} lost"
        assert control.lost, "the control loses nothing, so it proves nothing"
        return total._replace(note=note)
    return total


def record(rounds: int) -> list[Op]:
    """Run the worker under strace, and return what it did to the store's directory."""
    with tempfile.TemporaryDirectory() as place:
        directory, log = Path(place) / "state", Path(place) / "log"
        directory.mkdir(mode=0o700)
        trace = ["strace", "-f", "-xx", "-s", "1000000", "-o", str(log), f"-etrace={_CALLS}"]
        command = [*trace, *work(directory, rounds=rounds)]
        subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True, timeout=PATIENCE_S)
        return parse(log.read_text(), str(directory))


def parse(log: str, directory: str) -> list[Op]:
    """Return the steps of a log that concern the directory, and what was written to standard output."""
    reader = _Reader(directory)
    for call, arguments, result in _CALL.findall(log):
        if not result.startswith("-"):
            texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
            reader.step(call, arguments, result, texts)
    return reader.ops


class _Reader:
    """Follows descriptors and names through a log."""

    FOLDER = -1

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.ops: list[Op] = []
        self.names: dict[str, int] = {}
        self.fds: dict[str, int] = {}

    def step(self, call: str, arguments: str, result: str, texts: list[bytes]) -> None:
        fd = arguments.partition(",")[0]
        inode = self.fds.get(fd)
        if call == "openat":
            self.fds.pop(result, None)
            self._open(texts[0].decode("utf-8", "replace"), result)
        elif call == "close":
            self.fds.pop(fd, None)
        elif call == "write" and fd == "1":
            self.ops.append(Op("said", data=texts[0]))
        elif call in ("rename", "unlink"):
            self._rename(*(text.decode("utf-8", "replace") for text in texts))
        elif inode == self.FOLDER and call == "fsync":
            self.ops.append(Op("names"))
        elif inode is not None and inode != self.FOLDER:
            self._change(call, inode, arguments, texts)

    def _name(self, path: str) -> str | None:
        name = path.removeprefix(self.directory + "/")
        return None if name == path or name.endswith("-shm") else name

    def _open(self, path: str, fd: str) -> None:
        if path == self.directory:
            self.fds[fd] = self.FOLDER
        elif (name := self._name(path)) is not None:
            if name not in self.names:
                self.names[name] = 1 + len(self.ops)
                self.ops.append(Op("link", self.names[name], name=name))
            self.fds[fd] = self.names[name]

    def _rename(self, path: str, to: str | None = None) -> None:
        old, new = self._name(path), self._name(to or "")
        if old is not None and (inode := self.names.pop(old, None)) is not None:
            if new is not None:
                self.names[new] = inode
                self.ops.append(Op("link", inode, name=new))
            self.ops.append(Op("unlink", name=old))

    def _change(self, call: str, inode: int, arguments: str, texts: list[bytes]) -> None:
        if call == "pwrite64":
            self.ops.append(Op("write", inode, int(arguments.rsplit(",", 1)[1]), texts[0]))
        elif call == "write":  # the ledger is written from its beginning, or at the place of the highest id
            self.ops.append(Op("write", inode, 16 if len(texts[0]) == 8 else 0, texts[0]))
        elif call == "ftruncate":
            self.ops.append(Op("cut", inode, int(arguments.rsplit(",", 1)[1])))
        else:
            self.ops.append(Op("sync", inode))


def crash(ops: list[Op], directory: Path, dice: random.Random, *, synced: bool) -> None:
    """Write what the disk may hold after these steps."""
    contents: dict[int, bytearray] = {}
    loose: dict[int, list[Op]] = {}
    for op in ops:
        if op.kind in ("write", "cut"):
            loose.setdefault(op.inode, []).append(op)
        elif op.kind == "sync" and synced:
            for step in loose.pop(op.inode, []):
                apply(contents.setdefault(op.inode, bytearray()), step)
    likely = dice.choice((0.1, 0.5, 0.9))
    for inode, steps in loose.items():
        torn = dice.random() < 0.5
        for piece in (piece for step in steps for piece in (sectors(step) if torn and step.data else [step])):
            if dice.random() < likely:
                apply(contents.setdefault(inode, bytearray()), piece)
    directory.mkdir(mode=0o700)
    for name, inode in names_after(ops, dice, synced=synced).items():
        (directory / name).write_bytes(contents.get(inode, b""))
        (directory / name).chmod(0o600)


def names_after(ops: list[Op], dice: random.Random, *, synced: bool) -> dict[str, int]:
    """Return the names that the disk may have: those that were synced, and a beginning of the later changes."""
    changes = [op for op in ops if op.kind in ("link", "unlink", "names")]
    last = max((at for at, op in enumerate(changes) if op.kind == "names"), default=0) if synced else 0
    names: dict[str, int] = {}
    for op in changes[: dice.randint(last, len(changes))]:
        if op.kind == "link":
            names[op.name] = op.inode
        elif op.kind == "unlink":
            names.pop(op.name, None)
    return names


def apply(content: bytearray, op: Op) -> None:
    """Do a write or a cut to what a file holds."""
    if op.kind == "cut":
        del content[op.at :]
    content.extend(bytes(max(0, op.at - len(content))))
    content[op.at : op.at + len(op.data)] = op.data


def sectors(op: Op) -> list[Op]:
    """Return a write in the pieces in which it reaches a disk."""
    starts = range(0, len(op.data), SECTOR)
    return [op._replace(at=op.at + start, data=op.data[start : start + SECTOR]) for start in starts]
