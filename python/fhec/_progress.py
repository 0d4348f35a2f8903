"""Bars and callbacks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

#: `True` for a bar: that of `tqdm` if it is installed, or else a line on standard error. Or a
#: function of the steps done and all there are. It is called from the thread of the caller, at most
#: twenty times a second; what it raises ends the work.
Progress: TypeAlias = bool | Callable[[int, int], object] | None

Callback: TypeAlias = Callable[[int, int], object]


@contextmanager
def callback(progress: Progress, what: str) -> Iterator[Callback | None]:
    """What the native half calls for `progress`."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        bar = _Bar(what)
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield progress


class _Bar:
    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None and not self._shown:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                pass
            else:
                self._bar = tqdm(total=total, desc=self._what)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        else:
            self._shown = True
            print(f"\r{self._what}: {done} of {total}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shown:
            print(file=sys.stderr)
