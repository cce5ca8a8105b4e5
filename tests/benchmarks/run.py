"""``make bench`` runs every benchmark in a process of its own; ``make bench NAME=x`` runs one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(wanted: str) -> int:
    here = Path(__file__).parent
    known = sorted(path.stem for path in here.glob("*.py") if path.stem not in ("__init__", "run"))
    if wanted != "all" and wanted not in known:
        sys.stderr.write(f"there is no benchmark {wanted!r}; known: {', '.join(known)}\n")
        return 2
    names = known if wanted == "all" else [wanted]
    return max(subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "all"))
