"""The texts of ``--help`` and ``logsh help``, how they are laid out, and the words for wrong usage."""
