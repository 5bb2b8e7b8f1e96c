"""A machine with a state directory of its own and a service on loopback, for campaigns that run whole commands."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from logsh_cli.outbox import Outbox, Owner
from tests.benchmarks.campaigns.toll import PATIENCE_S, Toll
from tests.support.command import LOGSH, Completed
from tests.support.kept import body_of
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = "logsh_campaign_5d2c8e41"


class Machine:
    """Use it as a context manager; ``state`` is the directory of its outbox."""

    def __enter__(self) -> Self:
        self._place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.state = Path(self._place.name) / "state"
        self.server = Server().start()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOGSH_")},
            "LOGSH_STATE_DIR": str(self.state),
            "LOGSH_CONFIG_DIR": f"{self._place.name}/config",
            "LOGSH_API_URL": self.server.url,
            "LOGSH_API_KEY": KEY,
            "LOGSH_WORKSPACE": "shop",
        }
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._place.cleanup()

    def start(self, *args: str, stdin: bytes = b"", **popen: Any) -> subprocess.Popen[bytes]:
        """Start a command with these lines as its input."""
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            out = subprocess.PIPE
            return subprocess.Popen([str(LOGSH), *args], env=self.env, stdin=file, stdout=out, stderr=out, **popen)

    def run(self, *args: str, stdin: bytes = b"", **popen: Any) -> Completed:
        """Run a command to its end."""
        return ended(self.start(*args, stdin=stdin, **popen))

    def keep(self, names: Iterable[str]) -> None:
        """Accept events of those names."""
        store = Outbox.open(self.state)
        store.add(Owner("default", store.fingerprint(KEY)), [body_of(name) for name in names])
        store.close()

    def toll(self, accepted: Iterable[str], note: str) -> Toll:
        """Compare what was accepted with what the service and the outbox have."""
        wanted = set(accepted)
        arrived = Counter(body["event"] for body in self.server.events)
        store = Outbox.open(self.state)
        kept = {json.loads(row.body)["event"] for row in store.rows()}
        store.close()
        return Toll(
            accepted=len(wanted),
            delivered=len(wanted & set(arrived)),
            kept=len(kept),
            lost=len(wanted - set(arrived) - kept),
            doubled=sum(arrived.values()) - len(arrived) + len(kept & set(arrived)),
            note=note,
        )


def ended(process: subprocess.Popen[bytes]) -> Completed:
    """Wait for a process to end by itself."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return Completed(process.returncode, out, err)


def lines(names: Iterable[str]) -> bytes:
    """Return lines for a batch."""
    return b"".join(body_of(name) + b"\n" for name in names)
