"""logsh: send events to Logsh from shell one-liners, cron jobs and CI steps."""

from __future__ import annotations

import os
import sys
from operator import itemgetter

TYPE_CHECKING = False
"""As typing's own, which takes 2 ms to load: until ``__main__`` can answer Ctrl-C, nothing heavy is."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Do nothing: it tells a type checker how ``Record`` is made."""
        return lambda cls: cls


__version__ = "0.1.0"

ENTRY = "from logsh_cli.__main__ import run; run()"
"""The Python code that is ``logsh``; what stands behind it on a command line are its arguments."""


def own_command() -> list[str]:
    """Return what starts this logsh once more, from the same modules: installed, in a zipapp or a wrapped Python.

    ``python -m logsh_cli`` would look for them in this Python's own folders only. The working directory is left out,
    where a ``httpx.py`` may lie, unless it is the one that logsh itself was loaded from.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib costs 3 ms
    except OSError:  # it has been deleted
        here = ""
    home = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - as above
    modules = [os.path.abspath(place) for place in sys.path if place == home or place not in {"", here}]  # noqa: PTH100
    # Isolated (-I), where this process is: nothing that PYTHONPATH names, such as a sitecustomize.py, is run either.
    option = "-Ic" if sys.flags.isolated else "-c"
    return [sys.executable, option, f"import sys; sys.path[:] = {modules!r}; {ENTRY}"]


@dataclass_transform(frozen_default=True)
class Record(tuple["Any", ...]):
    """A tuple whose places have names, types and defaults, declared as in a ``NamedTuple``.

    A class of that kind takes 0.15 ms to make, one of this kind a tenth: 4 ms of every ``send``, which needs 25.
    """

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls._defaults = {name: vars(cls)[name] for name in cls._fields if name in vars(cls)}
        for place, name in enumerate(cls._fields):
            setattr(cls, name, property(itemgetter(place)))

    def __new__(cls, *values: Any, **named: Any) -> Self:  # noqa: D102 - what subclasses declare
        if len(values) < len(cls._fields):
            named = cls._defaults | named
            values += tuple([named[name] for name in cls._fields[len(values) :]])
        return super().__new__(cls, values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changed: Any) -> Self:
        return type(self)(**(self._asdict() | changed))
