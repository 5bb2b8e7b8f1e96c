"""The sandbox: a local Logsh, alone or around a command. Nothing is imported here: its help needs none of it."""
