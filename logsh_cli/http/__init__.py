"""The only httpx: one request within one budget, over whichever address and proxy leads to the service."""

import sys
import threading
from importlib import import_module
from types import ModuleType
from typing import Any

# What `import httpx` loads for nothing: where click is installed, its own command line (40 ms), what its asynchronous
# half runs on (1 ms), what shutil unpacks archives with (1 ms). None: such a module can't be found.
for _unused in ("httpx._main", "anyio", "trio", "bz2", "lzma"):
    sys.modules.setdefault(_unused, None)  # type: ignore[arg-type]

PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Variables that name a proxy; the first that is set counts; lower case goes before upper case, as in curl."""


class _Later(ModuleType):
    """Stands in for a module until something of it is used; importlib's own lazy loader is not safe under threads."""

    loading = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        with self.loading:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
            vars(self).update(vars(import_module(self.__name__)))
        return ModuleType.__getattribute__(self, name)


# What httpx imports at once for what few requests have (5 ms): a machine without certificates, a host that is not
# ASCII, one that is an address, files to send.
for _name in ("certifi", "idna", "ipaddress", "mimetypes"):
    sys.modules.setdefault(_name, _Later(_name))
