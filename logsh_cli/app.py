"""The context of a command: the environment as values, and builders for everything that costs something to make.

Nothing is built that isn't asked for: a dry run opens no store, a stored event loads no HTTP client.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from logsh_cli.clock import Clock
from logsh_cli.errors import ExitCode, NotDelivered, NotKept
from logsh_cli.http.connector import Background, Connector
from logsh_cli.output.printer import Printer
from logsh_cli.output.streams import Streams
from logsh_cli.output.text import Redactor

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from logsh_cli.config.resolve import Destination, Flags, Settings
    from logsh_cli.delivery.road import Road
    from logsh_cli.http.client import Client
    from logsh_cli.outbox import Outbox, Owner
    from logsh_cli.output import Result, Tally


class AppContext:
    """One run of logsh. ``fatal_signal`` is set when the process should die of that signal instead of exiting."""

    def __init__(self, env: Mapping[str, str], streams: Streams, clock: Clock = Clock()) -> None:  # noqa: B008 - a value
        self.env = env
        self.streams = streams
        self.clock = clock
        self.redact = Redactor()
        self.printer = Printer(streams, self.redact)
        self.fatal_signal: int | None = None
        self._stores: dict[Outbox, int] = {}
        # Known before anything is parsed, so that no message, whatever its cause, can show it.
        if key := self.env.get("LOGSH_API_KEY", "").strip():
            self.redact.learn(key)

    @classmethod
    def of_process(cls) -> AppContext:
        """Return the context of this process: the real environment, streams and clock."""
        return cls(os.environ, Streams.of_process(os.environ))

    def configured(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> Self:
        """Return this context, set to show results as the command's options say."""
        self.printer.json, self.printer.quiet, self.printer.verbose = json, quiet, verbose
        return self

    def finish(self, result: Result | Tally) -> int:
        """Show the result and return its exit code, noting a signal that the process should die of."""
        self.printer.show(result)
        if result.exit_code == ExitCode.INTERRUPTED:
            self.fatal_signal = signal.SIGINT
        return int(result.exit_code)

    def cwd(self) -> Path:
        """Return the working directory; the root where it has been deleted under us."""
        try:
            return Path.cwd()
        except OSError:
            return Path("/")

    def settings(self, flags: Flags) -> Settings:
        """Return the effective settings; warnings about files are printed, the key becomes unprintable."""
        from logsh_cli.config.resolve import load_settings  # noqa: PLC0415 - built when asked for

        settings = load_settings(flags, self.env, self.cwd())
        if settings.api_key.value is not None:
            self.redact.learn(settings.api_key.value)
        for warning in settings.warnings.values():
            self.printer.warn(warning)
        return settings

    def store(self, *, patience_s: float | None = None) -> Outbox:
        """Return the outbox, waiting for no lock longer than ``patience_s``, or memory where none can be used."""
        store = self._open(**({} if patience_s is None else {"patience_s": patience_s}))
        if store.unkept_because is not None:
            self.printer.detail(f"no outbox, so a failed delivery would be lost: {store.unkept_because}")
        return store

    def existing_store(self) -> Outbox:
        """Return the outbox that there is, for commands that only look or tidy up. Raises ``NotKept``."""
        store = self._open(create=False)
        if store.is_full:
            raise NotDelivered(store.unkept_because or "", hint="what waits is kept; make room on that disk")
        if store.unkept_because is not None:
            raise NotKept(store.unkept_because)
        return store

    def _open(self, **how: Any) -> Outbox:
        from logsh_cli.config import state_dir  # noqa: PLC0415 - the same road
        from logsh_cli.outbox import open_store  # noqa: PLC0415 - sqlite3 costs 8 ms

        store = open_store(lambda: state_dir(self.env), now=self.clock.time, boot=self.clock.boot, **how)
        self._stores[store] = 0
        self.tell_notices()
        return store

    def tell_notices(self) -> None:
        """Warn of what is new about the stores that were opened: damage may show long after the opening."""
        for store, told in self._stores.items():
            for notice in store.notices[told:]:
                self.printer.warn(notice)
            self._stores[store] = len(store.notices)

    def connector(self, destination: Destination) -> Connector:
        """Return a maker of HTTP clients for one destination."""
        return Connector(destination, self.env, self.printer.detail if self.printer.verbose else None)

    def client(self, destination: Destination) -> Client:
        """Return one HTTP client, for commands that ask one question."""
        return self.connector(destination)()

    def road(
        self,
        destination: Destination,
        *,
        store: Outbox | None = None,
        connector: Connector | None = None,
        ahead: bool = False,
        stopping: threading.Event | None = None,
        show: Callable[[str], None] | None = None,
    ) -> Road:
        """Return the road of events to one destination; ``store`` and ``connector`` may have been made before.

        ``ahead``: the client will be needed, so it is loaded while the store's synced commit waits for the disk; not
        while the store is opened, since two threads that import take the interpreter from each other (4 ms).
        ``stopping`` ends waits early. ``show`` tells a person what is waited for.
        """
        from logsh_cli.delivery.road import Road  # noqa: PLC0415 - built when asked for

        store = store or self.store()
        connector = connector or self.connector(destination)
        connect = Background(connector).result if ahead else connector
        clock = self.clock if stopping is None else self.clock._replace(sleep=stopping.wait)
        return Road(store, self.owner(store, destination), connect, clock, stopping=stopping, show=show)

    def owner(self, store: Outbox, destination: Destination) -> Owner:
        """Return the owner of events for this destination: its profile and its key's fingerprint."""
        from logsh_cli.outbox import Owner  # noqa: PLC0415 - sqlite3 costs 8 ms

        return Owner(destination.profile, store.fingerprint(destination.key))
