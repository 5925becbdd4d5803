"""Find or fetch Kafka and Cassandra, which the trial of the scale profile runs.

`jars.py NAME` prints the folder with the jars of `kafka` or `cassandra`. They come from Maven
Central, once for each version, into the per-user cache. Needs Maven; running them needs Java 17.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from backends import cache_folder

_HERE: Final = Path(__file__).resolve().parent
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def main() -> int:
    """Print the folder; 2 with one line if it cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["kafka", "cassandra"])
    options = parser.parse_args()
    missing = [tool for tool in ("java", "mvn") if not shutil.which(tool)]
    if missing:
        print(f"jars.py: {' and '.join(missing)} missing. Install Java 17, Maven", file=sys.stderr)
        return 2
    folder = jars(options.name)
    if folder is None:
        return 2
    print(folder)
    return 0


def jars(name: str) -> Path | None:
    """Return the folder with the jars of one program; None, and Maven's last words, if it fails."""
    pom = _HERE / name / "pom.xml"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    target = cache_folder() / f"{name}-{digest}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"Fetching {name} from Maven Central, once.", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as temporary:
        out = Path(temporary) / "jars"
        # The first of these calls also fetches the plugin, which is why it is pinned.
        command = ["mvn", "-B", "-q", "-f", str(pom), _COPY, f"-DoutputDirectory={out}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not any(out.glob("*.jar")):
            print(done.stdout[-2000:] + done.stderr[-2000:], file=sys.stderr)
            print(f"jars.py: {name} could not be fetched", file=sys.stderr)
            return None
        out.rename(target)  # whole or not at all
    return target


if __name__ == "__main__":
    sys.exit(main())
