"""What a job prints goes to its log; what a user has to mend is also said on the screen."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heatproof.errors import HeatproofError


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send standard output and error of the block, also those of libraries written in C, to a file.

    What the package itself logs goes there too, from level INFO on (the epochs of a training).

    An error that a user can mend is written to the screen in one line; its traceback stands in the log. The
    process then ends with status 1.

    Parameters
    ----------
    path : str or Path
        The log file, written anew.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    screen = os.dup(2)
    kept = os.dup(1)
    with path.open("w", encoding="utf-8") as log:
        sys.stdout.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        ours = logging.getLogger("heatproof")
        level, handler = ours.level, logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
        try:
            yield
        except HeatproofError as error:
            traceback.print_exc()
            os.write(screen, f"{type(error).__name__}: {error}\n".encode())
            raise SystemExit(1) from error
        finally:
            ours.setLevel(level)
            ours.removeHandler(handler)
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept, 1)
            os.dup2(screen, 2)
            os.close(kept)
            os.close(screen)
