"""The topics of ``logsh help``, and the tables behind them, which the manual and the reference show as well."""

from __future__ import annotations

import textwrap

from logsh_cli.errors import EXIT_CODE_MEANINGS
from logsh_cli.output import Tally

ENVIRONMENT = {
    "LOGSH_API_KEY": "The API key.",
    "LOGSH_API_KEY_FILE": "A file that holds the API key and nothing else.",
    "CREDENTIALS_DIRECTORY": "Set by systemd for a service; its file logsh-api-key holds the API key.",
    "LOGSH_API_URL": "The URL of a self-hosted Logsh; it needs a key from the environment as well.",
    "LOGSH_PROFILE": "The profile to use instead of the default one.",
    "LOGSH_WORKSPACE": "The workspace.",
    "LOGSH_ICON": "The icon: an emoji or a shortcode.",
    "LOGSH_NOTIFY": "Send a push notification or don't: 1 or 0, true or false, yes or no, on or off.",
    "LOGSH_DEADLINE": "Time for all attempts and waits together, as --deadline.",
    "LOGSH_BEST_EFFORT": "1 is --best-effort on every call.",
    "LOGSH_ON_MISSING_KEY": "fail or skip, as --on-missing-key.",
    "LOGSH_CA_FILE": "A file with certificates (PEM) of the authorities to trust, and no others.",
    "LOGSH_CONFIG_DIR": "The directory of config.toml.",
    "LOGSH_STATE_DIR": "The directory of the outbox.",
    "LOGSH_DEBUG": "1 shows where a fault in logsh happened.",
    "HTTPS_PROXY, ALL_PROXY, NO_PROXY": "The proxy to go through, and the hosts to reach without it. Never used for "
    "this machine itself.",
    "SSL_CERT_FILE, SSL_CERT_DIR": "Certificates of authorities to trust, instead of the system's.",
    "NO_COLOR, FORCE_COLOR": "Never, or always, draw results as on a terminal with colors.",
}

RESULT_FIELDS = {
    "status": "delivered; stored (--background); queued: not delivered, kept; rejected: the service refused the event; "
    "skipped: there is no key, and it may be missing; dry_run; failed: nothing was kept.",
    "event": "The event as it is sent, or null.",
    "id": "Its number in the outbox, or null.",
    "http_status": "The service's last answer, or null.",
    "attempts": "How often it was sent.",
    "elapsed_ms": "Milliseconds from start to end.",
    "exit_code": "The exit code, as `logsh help exit-codes` has it.",
    "error": 'null, or {"name", "message", "hint"}; name is stable, message and hint are for people.',
    "request": 'Only of a dry run: {"method", "url", "headers", "body"}, the key redacted.',
}

STATES = {
    "waiting": "pending, or leased while a process is delivering it",
    "refused": "rejected: the service refused it; `logsh outbox retry` tries again",
    "damaged": "damaged: what is stored can't be read; `logsh outbox drop` removes it",
}
"""The states of a kept event as people read them, and as ``outbox list --json`` names them."""

_FOR_ONE = """\
With --json a command prints one line on standard output, whatever happens; everything else goes to standard error.
Commands for one event print an object with these keys:
"""
_FOR_MANY = f"""\
batch and outbox flush print one with {", ".join(Tally._fields)}; outbox list and sandbox print one event a line. The
states of an event in the outbox, for people and in JSON:
"""
_SCHEMA = "A JSON Schema of all that is printed: docs/result.schema.json in the source."
_WIDTH = 78
_WIDEST_TERM = 24


def exit_codes() -> str:
    """The exit codes and what each means."""
    table = _table({str(int(code)): meaning for code, meaning in EXIT_CODE_MEANINGS.items()})
    return f"{table}\n\nlogsh run and logsh sandbox end with the status of the command that they ran."


def environment() -> str:
    """The environment variables that are heeded."""
    return _table(ENVIRONMENT)


def json() -> str:
    """The fields that ``--json`` prints, and the names of states."""
    for_one, for_many, schema = (textwrap.fill(text, _WIDTH) for text in (_FOR_ONE, _FOR_MANY, _SCHEMA))
    return "\n\n".join((for_one, _table(RESULT_FIELDS), for_many, _table(STATES), schema))


TOPICS = {"exit-codes": exit_codes, "environment": environment, "json": json}


def _table(rows: dict[str, str]) -> str:
    width = min(max(map(len, rows)), _WIDEST_TERM)
    lines = []
    for term, meaning in rows.items():
        first, *others = textwrap.wrap(meaning, _WIDTH - width - 4, break_on_hyphens=False)
        head = f"  {term:<{width}}  "
        lines += [f"{head}{first}"] if len(term) <= width else [f"  {term}", f"{'':<{width + 4}}{first}"]
        lines += [f"{'':<{width + 4}}{line}" for line in others]
    return "\n".join(lines)
