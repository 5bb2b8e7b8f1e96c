"""Input that nobody thought of, half of it 64 KB long: ``python -m tests.benchmarks.fuzz TARGET [SEED] [MINUTES]``.

No command that meets it may end with a fault of ours, or take a second of processor time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st

from logsh_cli.errors import ExitCode
from logsh_cli.outbox import Outbox, Owner
from tests.support.answers import http, raw
from tests.support.inprocess import call_main
from tests.support.kept import body_of
from tests.support.server import Server

SIZE = 64 * 1024
MOST_S = 1.0
EXAMPLES = 200
"""With one seed; the next one follows as long as there is time."""


def texts(pieces: str) -> st.SearchStrategy[str]:
    piece = st.sampled_from([*pieces.split(" "), " ", "\n", "\x1b["]) | st.text(max_size=6)
    parts = st.lists(piece, min_size=1, max_size=12)
    whole = st.builds(lambda parts, long: "".join(parts) + (parts[-1] * SIZE)[:SIZE] * long, parts, st.booleans())
    return whole.map(lambda text: text.encode("utf-8", "replace").decode())


SHARE = st.floats(0, 1)
"""Of a file: where something else is written, and where it ends."""

INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "answers": st.tuples(
        st.sampled_from((200, 201, 302, 400, 401, 403, 404, 429, 503)),
        texts('{ } [ <html> "status" "message" : , false " :// logsh_ \\ud800'),
        st.booleans(),
    ),
    "config": st.tuples(
        st.sampled_from(("config.toml", ".logsh.toml")),
        texts("[ ] [[ = . a a.a. \" ''' profiles api_key workspace metadata 1 { , #"),
    ),
    "batch": texts('{ } [ "event" "description" "metadata" : , "x" 1e9 null \\u0000'),
    "outbox": st.tuples(
        st.lists(st.tuples(SHARE, st.binary(min_size=1, max_size=64)), max_size=8), st.just(1.0) | SHARE
    )
    | st.binary(max_size=4096),
}


class Scene:
    """A directory, a service and the commands that meet the input."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server
        self.slowest_s = 0.0
        self.env = {"LOGSH_CONFIG_DIR": str(directory / "config"), "LOGSH_STATE_DIR": str(directory / "state")}
        self.env |= {"LOGSH_API_KEY": "logsh_fuzz_81d4", "LOGSH_WORKSPACE": "w"}
        store = Outbox.open(directory / "whole")
        store.add(
            Owner("default", store.fingerprint("logsh_fuzz_81d4")), [body_of(f"e{number}") for number in range(200)]
        )
        store.close()
        self.whole = (directory / "whole" / "outbox.db").read_bytes()

    def run(self, *commands: tuple[str, ...], stdin: bytes = b"", url: str = "http://127.0.0.1:1") -> None:
        for command in commands:
            started = time.process_time()
            done = call_main(*command, env={**self.env, "LOGSH_API_URL": url}, stdin=stdin)
            taken = time.process_time() - started
            assert done.code in set(ExitCode) - {ExitCode.FAULT}, (command, done)
            assert "Traceback" not in done.stderr, (command, done)
            assert taken < MOST_S, (command, taken)
            self.slowest_s = max(self.slowest_s, taken)

    def meet(self, target: str, given: Any) -> None:
        for name in ("config", "state"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
            (self.directory / name).mkdir(mode=0o700)
        send = ("send", "-e", "e", "-d", "d", "--deadline", "0.1")
        if target == "answers":
            status, body, whole = given
            self.server.default = raw(http(status, body.encode())[: None if whole else -1], hang_up=not whole)
            self.run((*send, "-v"), ("outbox", "list", "--json"), url=self.server.url)
        elif target == "config":
            path = self.directory / ("config" if given[0] == "config.toml" else "") / given[0]
            path.write_text(given[1])
            path.chmod(0o600)
            self.run((*send, "--dry-run"), ("config", "list"), ("config", "set", "workspace", "w"))
            path.unlink()
        elif target == "batch":
            self.run(("batch", "--dry-run", "-"), stdin=given.encode())
        else:
            (self.directory / "state" / "outbox.db").write_bytes(self.damaged(given))
            shown = (("outbox", "list", "--json"), ("outbox", "show", "7"), ("outbox", "recover"))
            self.run(*shown, send, ("outbox", "drop", "--all", "--yes"))

    def damaged(self, given: Any) -> bytes:
        if isinstance(given, bytes):
            return given
        content = bytearray(self.whole)
        for share, piece in given[0]:
            at = int(share * (len(content) - len(piece)))
            content[at : at + len(piece)] = piece
        return bytes(content[: int(given[1] * len(content))])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fuzz")
    parser.add_argument("target", choices=INPUTS)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    given = parser.parse_args()
    end, seed = time.monotonic() + 60 * given.minutes, given.seed
    with tempfile.TemporaryDirectory() as place, Server() as server:
        os.chdir(place)
        scene = Scene(Path(place), server)
        while time.monotonic() < end:
            test = hypothesis.given(INPUTS[given.target])(lambda each: scene.meet(given.target, each))
            options = hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None)
            hypothesis.seed(seed)(options(test))()
            seed += 1
        inputs = f"{(seed - given.seed) * EXAMPLES:,} inputs of seeds {given.seed} to {seed - 1}"
        print(f"{given.target}: {inputs}, no fault; the slowest command took {scene.slowest_s:.2f} s of CPU")


if __name__ == "__main__":
    main()
