"""The only httpx: one request within one budget, over whichever address and proxy leads to the service."""

import sys

# Where click is installed, `import httpx` loads httpx's own command line, with rich and pygments: 40 ms for nothing.
# None is how Python is told that a module can't be found.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Where a proxy is named, the first that is set; lower case goes before upper case, as in curl."""
