"""What both of LanceDB's tables are reached by: a folder, commits tried again, errors that are ours, quoted values.

Not here: what is in a table (lancedb_variants.py, lancedb_annotations.py).
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from vcf_pipeline.domain.errors import PermanentError, StoreUnavailable

T = TypeVar("T")

FOLDER = "_lancedb"
OLD_VERSIONS_KEPT = timedelta(hours=1)  # longer than any query; a reader's snapshot must not lose its files
_ATTEMPTS = 12
_REST_CLIENT = "lance_namespace_urllib3_client"
"""What lancedb imports for catalogues that are reached by HTTP: its hundreds of checked methods take 1.3 s to make, two
thirds of the whole import, and a database in a folder calls none of them.
"""


def connect(folder: Path) -> Any:
    """The database in a folder; tables are its sub-folders."""
    _import_later(_REST_CLIENT)
    import lancedb

    return lancedb.connect(folder)


def _import_later(name: str) -> None:
    """Put a package in its place that executes itself when first asked for a name; its submodules are found as ever."""
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def executed(attribute: str) -> Any:
        if attribute.startswith("__"):  # of whoever looks through all modules, and wants none of this one's
            raise AttributeError(attribute)
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, attribute)

    vars(package)["__getattr__"] = executed
    sys.modules[name] = package


def open_or_none(folder: Path, name: str) -> Any | None:
    """The table, or None where it was never made. Raises StoreUnavailable."""
    if not (folder / f"{name}.lance").is_dir():
        return None
    with mapped():
        try:
            return connect(folder).open_table(name)
        except ValueError as error:
            # the folder exists before its first version does
            if "not found" in str(error):
                return None
            raise


def literal(value: str | float) -> str:
    """A value in LanceDB's SQL. Raises PermanentError for text with control characters."""
    if isinstance(value, str):
        if not value.isprintable():
            raise PermanentError(where="query", expected="printable text", got=repr(value[:40]))
        return "'" + value.replace("'", "''") + "'"
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def retried(act: Callable[[], T]) -> T:
    """`act` again while another writer's commit came first; lance itself asks for that."""
    for attempt in range(_ATTEMPTS):
        try:
            with mapped():
                return act()
        except StoreUnavailable as error:
            if not error.data.get("is_conflict") or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - to part writers, not to hide from any
    raise AssertionError("unreachable")


@contextmanager
def mapped() -> Iterator[None]:
    """LanceDB's errors as ours: RuntimeError and OSError with a text, ValueError for a bad filter."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        text = str(error).partition(", /")[0]  # what follows is a path in the vendor's build
        is_conflict = "conflict" in text.lower() or "already exists" in text.lower()
        raise StoreUnavailable(
            where="LanceDB",
            got=text[:300] or type(error).__name__,
            repair="Try again.",
            is_conflict=is_conflict,
        ) from error
    except ValueError as error:
        raise PermanentError(where="LanceDB", got=str(error)[:300], code="STORE_REFUSED") from error
