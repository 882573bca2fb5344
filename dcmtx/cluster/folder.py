"""Small files of a run, in a local directory or below a prefix in a store. Each is made once, whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

from dcmtx.errors import InputError, OutputError
from dcmtx.place.places import is_remote, open_reader, open_sink
from dcmtx.place.temporary import is_temporary


def is_missing(error: InputError) -> bool:
    """Tell whether a place could not be read because there is nothing."""
    return error.code == "E_MISSING" or isinstance(error.__cause__, FileNotFoundError)


class Folder:
    """A directory or a prefix, by its place."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/") or place
        self.is_remote = is_remote(place)

    def place_of(self, name: str) -> str:
        """Return the place of a file, by its name below the folder."""
        return os.path.join(self.place, name)

    def check(self) -> None:
        """Raise InputError, E_RUN, for what is there and is no directory."""
        if not self.is_remote and os.path.lexists(self.place) and not os.path.isdir(self.place):
            raise InputError(
                "it is no directory", advice="name the directory or prefix of a run", code="E_RUN", path=self.place
            )

    def read(self, name: str) -> bytes | None:
        """Return a whole file, or None if there is none. Raises InputError if it cannot be read."""
        try:
            with closing(open_reader(self.place_of(name))) as file:
                return bytes(file.pread(file.size, 0))
        except InputError as error:
            if is_missing(error):
                return None
            error.path = error.path or self.place_of(name)
            raise

    def create(self, name: str, data: bytes) -> bool:
        """Make a file; return False, and change nothing, if it is there. Raises OutputError if it cannot be written."""
        try:
            with open_sink(self.place_of(name), clobber=False, parents=True) as sink:
                sink.write(data)
                sink.commit()
        except OutputError as error:
            if error.code == "E_EXISTS":
                return False
            raise
        return True

    def names(self, below: str) -> Iterator[str]:
        """Yield the names of the files in a folder of this one. Raises InputError if it cannot be listed."""
        place = self.place_of(below)
        if self.is_remote:
            from dcmtx.place.remote import listing

            yield from (found.below for found in listing(f"{place}/"))
            return
        try:
            with os.scandir(place) as entries:
                yield from (entry.name for entry in entries if not is_temporary(entry.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"it cannot be listed: {error.strerror}", code="E_UNREADABLE", path=place) from error
