"""``python -m completions``: write everything anew that is made from the commands."""

from completions.generate import write

write()
