"""``python -m completions [DIRECTORY]``: write the scripts, the manual and, without a directory, the reference anew."""

import sys
from pathlib import Path

from completions import reference
from completions.generate import write
from completions.tree import read_tree
from logsh_cli.parser import build_app

if len(sys.argv) > 1:
    write(Path(sys.argv[1]))
else:
    write(Path(__file__).parent)
    reference.PAGE.write_text(reference.page(read_tree(build_app())), encoding="utf-8")
