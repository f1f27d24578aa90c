"""The command line, the client of a deployed stack, and the embedded cloud."""
