"""One module a command: parse, act, show. No rules of the business live here."""
