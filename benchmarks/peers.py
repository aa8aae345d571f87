"""The peers' own scripts (`bench/holepunch` of the shared data), run beside ours where the shared data is there.

They are copied to a folder outside the checkout and installed there once; nothing of theirs enters this repository.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("KITHKIN_SHARED") or Path(__file__).resolve().parents[2] / "shared")
SCRIPTS = SHARED / "bench" / "holepunch"


class Peers:
    """Runs peer scripts.  `reason` says why there are none, None where there are."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._folder = Path(tempfile.gettempdir()) / "kithkin-bench-peers"
        if not SCRIPTS.is_dir():
            self.reason = "the shared data is absent (bench/holepunch)"
        elif shutil.which("npm") is None:
            self.reason = "npm is absent"
        else:
            self.reason = self._install()

    def _install(self) -> str | None:
        if (self._folder / "installed").exists():
            return None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for script in SCRIPTS.iterdir():
            if script.is_file():
                (self._folder / script.name).write_bytes(script.read_bytes())
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}"
        (self._folder / "installed").touch()
        return None

    def run(self, script: str, *given: object) -> dict[str, Any] | None:
        """The line a script prints, None where there are no peers.  Raises RuntimeError where it fails."""
        if self.reason is not None:
            return None
        data = Path(tempfile.mkdtemp(prefix="kithkin-bench-"))
        try:
            done = subprocess.run(
                ["node", script, *map(str, given)],
                cwd=self._folder,
                env={**os.environ, "BENCH_TMP": str(data)},
                capture_output=True,
                text=True,
                check=False,
                timeout=1800,
            )
        finally:
            shutil.rmtree(data, ignore_errors=True)
        if done.returncode:
            raise RuntimeError(f"{script}: {done.stderr.strip()[-500:]}")
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found
