"""Refreshes `functions/page/vendor/`: the page's libraries, as npm has them, with their licences.

    python locks/vendor.py

Each file is copied unchanged out of the version named here. `npm` checks every package against the hash that
the registry states; the hash of each file is kept in `vendor/hashes.json`, and a test compares them. To take
a newer version, change it here, run this, and look at `git diff`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "functions" / "page" / "vendor"
PACKAGES = {
    "preact": ("11.2.0", {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "hooks.js"}),
    "htm": ("3.1.1", {"dist/htm.mjs": "htm.js"}),
}


def refresh(vendor: Path = VENDOR) -> dict[str, str]:
    """Copy the files of every package, and their licences; return the hash of each file by its name."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("expected npm, found none: install Node.js")
    vendor.mkdir(exist_ok=True)
    hashes = {}
    for package, (version, files) in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", "--silent", "--pack-destination", folder, f"{package}@{version}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            [packed] = Path(folder).iterdir()
            with tarfile.open(packed) as archive:
                for source, target in {**files, "LICENSE": f"LICENSE.{package}"}.items():
                    member = archive.extractfile(f"package/{source}")
                    if member is None:
                        raise SystemExit(f"expected a file {source} in {package} {version}, found none")
                    body = member.read()
                    (vendor / target).write_bytes(body)
                    hashes[target] = hashlib.sha256(body).hexdigest()
    return hashes


if __name__ == "__main__":
    versions = {package: version for package, (version, _) in PACKAGES.items()}
    text = json.dumps({"versions": versions, "sha256": refresh()}, indent=2) + "\n"
    (VENDOR / "hashes.json").write_text(text, encoding="ascii")
