"""Text from a user's file, made fit to be shown: nothing in it can steer a terminal or reorder a line."""


def safe(text: str, width: int | None = None) -> str:
    """`text` with every character that is not printable shown as its code, cut to `width` characters.

    Control characters would steer the terminal, and format characters (bidirectional overrides, zero-width
    ones) would make it show something else than it holds.

    >>> safe("a\\x1b[2Jb"), safe("abcdef", 4)
    ('a\\\\x1b[2Jb', 'abc…')
    """
    printable = text if text.isprintable() else "".join(c if c.isprintable() else _code(c) for c in text)
    return printable if width is None or len(printable) <= width else printable[: width - 1] + "…"


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
