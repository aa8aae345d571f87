"""Whether DuckDB can keep an index here, found out without loading it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path


def has_duckdb() -> bool:
    """DuckDB, its httpfs extension for the same version, and a Python to run them in (phones have none)."""
    extension = duckdb_extension()
    return bool(sys.executable) and extension is not None and extension.is_file()


def duckdb_extension() -> Path | None:
    """Where the extension for the installed DuckDB is to lie; None where either package is absent."""
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    if importlib.util.find_spec("duckdb") is None or found is None or found.origin is None:
        return None
    try:
        version = importlib.metadata.version("duckdb")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(found.origin).parent / "extensions" / f"v{version}" / "httpfs.duckdb_extension"
