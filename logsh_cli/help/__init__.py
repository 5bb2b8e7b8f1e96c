"""The texts of ``--help`` and ``logsh help``, how they are laid out, and the words for wrong usage."""


def described(sentence: str, *examples: str) -> str:
    """A command's help: what it does, and command lines to start from, each kept on a line of its own."""
    return "\n  ".join((f"{sentence}\n\n\b", *examples))
