"""The place of measuring: logsh installed as its users have it, a server, a trust bundle, and empty directories."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeAlias

from tests.benchmarks.measure import Failed, adopt_orphans

if TYPE_CHECKING:
    from collections.abc import Iterator

Trust: TypeAlias = Literal["bundle", "folder"]
"""The ways to find certificates: one file that is read whole, or a folder in which they are looked up."""

ROOT = Path(__file__).resolve().parents[2]
KEY = "logsh_benchmark_0123456789abcdef0123456789abcdef"
WORKSPACE = "benchmarks"
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/cert.pem",  # macOS
)


class Lab:
    """One benchmark's surroundings; ``open_lab`` makes one."""

    def __init__(self, directory: Path, venv: Path, ports: dict[str, int]) -> None:
        self.directory = directory
        self.python = venv / "bin" / "python"
        self.logsh = venv / "bin" / "logsh"
        self.bundle = directory / "bundle.pem"
        self._folder = directory / "certs"
        self._ports = ports
        self._machines = 0

    def url(self, port: str) -> str:
        """The base URL of ``http``, ``https`` or ``slow``, the last one over TLS as well."""
        return f"{'http' if port == 'http' else 'https'}://localhost:{self._ports[port]}"

    def environment(self, trust: Trust = "bundle") -> dict[str, str]:
        """Return every program's environment: the same certificates, and nothing of ours but PATH."""
        bundle = str(self.bundle)
        certificates = {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "CURL_CA_BUNDLE": bundle}
        return {
            "PATH": f"{self.python.parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **({"SSL_CERT_DIR": str(self._folder)} if trust == "folder" else certificates),
        }

    def trusts(self) -> list[Trust]:
        """The ways of finding certificates that this machine has."""
        return ["bundle", "folder"] if self._folder.exists() else ["bundle"]

    def machine(self, port: str, trust: Trust = "bundle") -> dict[str, str]:
        """The environment of a new user of logsh whose key, workspace and URL are in the configuration file."""
        self._machines += 1
        home = self.directory / f"machine-{self._machines}"
        config = home / "config"
        config.mkdir(parents=True, mode=0o700)
        file = config / "config.toml"
        file.touch(mode=0o600)
        file.write_text(f'api_key = "{KEY}"\nworkspace = "{WORKSPACE}"\napi_url = "{self.url(port)}"\n')
        return {**self.environment(trust), "LOGSH_CONFIG_DIR": str(config), "LOGSH_STATE_DIR": str(home / "state")}

    def events_received(self) -> int:
        """Return the number of events that the server has had so far."""
        with socket.create_connection(("127.0.0.1", self._ports["http"])) as connection:
            connection.sendall(b"GET /count HTTP/1.0\r\n\r\n")
            with connection.makefile("rb") as answer:
                return int(answer.read().rpartition(b"\r\n\r\n")[2])


@contextmanager
def open_lab(venv: Path | None) -> Iterator[Lab]:
    """A lab with logsh from ``venv``, or from one that is made for this and thrown away again.

    The working directory is an empty one meanwhile, so that no project's settings play a part.
    """
    adopt_orphans()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="logsh-benchmarks-")))
        venv = directory / "venv" if venv is None else venv.absolute()
        if not (venv / "bin" / "logsh").exists():
            install(venv, ROOT)
        ca_file = directory / "ca.pem"
        lab = Lab(directory, venv, stack.enter_context(_server(ca_file)))
        lab.bundle.write_bytes(system_bundle().read_bytes() + b"\n" + ca_file.read_bytes())
        hash_into(ca_file, directory / "certs")
        (directory / "empty").mkdir()
        stack.enter_context(chdir(directory / "empty"))
        yield lab


def install(venv: Path, *packages: str | Path) -> None:
    """Make an environment with these."""
    say(f"installing {' '.join(map(str, packages))} into {venv} ...")
    execute(sys.executable, "-m", "venv", "--clear", venv)
    execute(venv / "bin" / "python", "-m", "pip", "install", "--quiet", *packages)


def execute(*argv: str | Path) -> str:
    """Run something and return its output. It may write byte code, which a user's second call finds.

    Raises:
        Failed: its status was not 0.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, argv))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def system_bundle() -> Path:
    """The machine's list of certificate authorities as one file; certifi's where there is none."""
    for name in (ssl.get_default_verify_paths().openssl_cafile, *_SYSTEM_BUNDLES):
        if (path := Path(name)).is_file():
            return path
    import certifi  # noqa: PLC0415 - where the system has one, that is what counts

    return Path(certifi.where())


def hash_into(ca_file: Path, folder: Path) -> None:
    """Make a folder in which OpenSSL looks a certificate up by its subject's hash, Debian's default."""
    openssl = find("openssl")
    if openssl is None:
        say("note: openssl is not installed, so nothing is measured with a folder of certificates")
        return
    name = execute(openssl, "x509", "-noout", "-subject_hash", "-in", ca_file).strip()
    folder.mkdir()
    shutil.copy(ca_file, folder / f"{name}.0")


def find(program: str) -> Path | None:
    """A program on PATH, if it is there."""
    found = shutil.which(program)
    return None if found is None else Path(found)


def say(text: str) -> None:
    """Progress and notes, beside the tables."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _server(ca_file: Path) -> Iterator[dict[str, int]]:
    argv = [sys.executable, str(Path(__file__).with_name("server.py")), str(ca_file)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failed("the server did not start")
        yield json.loads(line)
        process.stdin.close()
