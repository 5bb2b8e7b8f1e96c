"""``python -m completions [DIRECTORY]``: write the scripts and the manual anew."""

import sys
from pathlib import Path

from completions.generate import write

write(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent))
