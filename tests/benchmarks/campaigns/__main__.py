"""Run campaigns and print the toll of each; 1 when anything was lost without a word."""

from __future__ import annotations

import argparse
import pkgutil
import random
import sys
import time
from importlib import import_module

from tests.benchmarks import campaigns


def names() -> list[str]:
    """Return the campaigns that there are."""
    found = [module.name for module in pkgutil.iter_modules(campaigns.__path__)]
    return [name.replace("_", "-") for name in found if name not in ("__main__", "machine", "toll")]


def main() -> int:
    parser = argparse.ArgumentParser(description=campaigns.__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, help="how many states, processes or steps; each has its own default")
    given = parser.parse_args()
    lost = 0
    for name in given.names or names():
        module = import_module(f"tests.benchmarks.campaigns.{name.replace('-', '_')}")
        started = time.monotonic()
        toll = module.campaign(random.Random(given.seed), given.size or module.SIZE)
        print(f"{name} --seed {given.seed}: {toll} ({time.monotonic() - started:.0f} s)", flush=True)
        lost += toll.lost
    return int(lost > 0)


sys.exit(main())
