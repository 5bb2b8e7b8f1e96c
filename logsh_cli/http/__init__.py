"""The only httpx: one request within one budget, over whichever address and proxy leads to the service."""

import sys

# What `import httpx` loads for nothing: where click is installed, its own command line with rich and pygments (40 ms),
# what its asynchronous half runs on (1 ms), and what shutil unpacks archives with (1 ms). None is how Python is told
# that a module can't be found.
for _unused in ("httpx._main", "anyio", "trio", "bz2", "lzma"):
    sys.modules.setdefault(_unused, None)  # type: ignore[arg-type]

PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Where a proxy is named, the first that is set; lower case goes before upper case, as in curl."""
