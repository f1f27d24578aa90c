"""The live page for one person: served on this machine, asking a stack with that person's credentials."""
