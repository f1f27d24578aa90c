"""Assembles the page: one HTML document out of `page.html`, `style.css` and the ES modules in this folder.

The modules become one script, each in a scope of its own, so that the document needs no other file and its
policy can name that one script by its hash. Nothing else runs: no other script, no address is asked (but its
own server where it is served live), and text never becomes markup, which the browser itself refuses.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
ENTRY = "app.js"
BARE = {"preact": "vendor/preact.js"}
"""Modules that a library imports by name, not by place."""

_IMPORT = re.compile(r'^import\s*(\{[^}]*\}|\w+)\s*from\s*"([^"]+)";?', re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:function\*?|const|class) (\w+)", re.MULTILINE)
_EXPORT_LIST = re.compile(r"\bexport\s*\{([^}]*)\};?\s*(?://# sourceMappingURL=\S*\s*)?\Z")
_EXPORT_DEFAULT = re.compile(r"\bexport default ")
_SLOT = re.compile(r"/\* \{(\w+)\} \*/|\{\{(\w+)\}\}")


class Document(NamedTuple):
    """The page in two parts, between which its data stands as JSON."""

    before: bytes
    after: bytes
    policy: str


@cache
def document(*, live: bool, team: tuple[str, ...] = ()) -> Document:
    """The page for one of its homes: with its data inside, or live, where it asks its own server for it.

    For a `team` it is live too, signs people in, and may ask these other origins as well.
    """
    script, style = bundle(ENTRY), (FOLDER / "style.css").read_text(encoding="utf-8")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            *([" ".join(["connect-src 'self'", *team])] if live else []),
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    home = "team" if team else "live" if live else "report"
    words = {"policy": policy, "style": style, "script": script, "home": home}
    template = (FOLDER / "page.html").read_text(encoding="utf-8")
    text = _SLOT.sub(lambda slot: words.get(slot[1] or slot[2], slot[0]), template)
    before, after = text.split("{{data}}")
    return Document(before.encode(), after.encode(), policy)


def bundle(entry: str) -> str:
    """One script of a module and all it imports, each after those it needs.

    The modules keep to what is read here: imports of names at the beginning of a line, exports of a function,
    constant or class where it is declared, or as one list at the end.
    """
    parts: list[str] = []
    sources: dict[str, str] = {}

    def add(path: str) -> str:
        if path in sources:
            if not sources[path]:
                raise ValueError(f"{path} imports itself, by way of others")
            return sources[path]
        sources[path] = ""
        text = (FOLDER / path).read_text(encoding="utf-8")
        folder = Path(path).parent

        def bound(match: re.Match[str]) -> str:
            names, source = match[1], match[2]
            target = BARE.get(source) or _joined(folder, source)
            scope = add(target)
            names = names.replace(" as ", ": ") if names.startswith("{") else f"{{default: {names}}}"
            return f"const {names} = {scope};"

        text = _IMPORT.sub(bound, text)
        exports = [f"{name}: {name}" for name in _EXPORTED.findall(text)]
        text = re.sub(r"^export (?=async |function|const |class )", "", text, flags=re.MULTILINE)
        if match := _EXPORT_LIST.search(text):
            text = text[: match.start()]
            for pair in match[1].split(","):
                inner, _, outer = pair.strip().partition(" as ")
                exports.append(f"{outer or inner}: {inner}")
        if _EXPORT_DEFAULT.search(text):
            text = _EXPORT_DEFAULT.sub("const _default = ", text)
            exports.append("default: _default")
        scope = f"_{len(parts)}_{re.sub(r'[^a-z]', '_', Path(path).stem)}"
        parts.append(f"const {scope} = (() => {{\n{text.strip()}\nreturn {{{', '.join(exports)}}};\n}})();\n")
        sources[path] = scope
        return scope

    add(entry)
    script = '"use strict";\n' + "".join(parts)
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise ValueError("a module holds what ends a script in HTML")
    return script


def _joined(folder: Path, source: str) -> str:
    """The place of a module named relative to another's folder.

    >>> _joined(Path("reading"), "../words.js"), _joined(Path("."), "./cell.js")
    ('words.js', 'cell.js')
    """
    path = (FOLDER / folder / source).resolve()
    return path.relative_to(FOLDER.resolve()).as_posix()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
