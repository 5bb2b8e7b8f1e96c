"""``python -m logsh_cli.completion [DIRECTORY]``: write the scripts and the manual anew."""

import sys
from pathlib import Path

from logsh_cli.completion.generate import write

write(Path(sys.argv[1] if len(sys.argv) > 1 else "completions"))
