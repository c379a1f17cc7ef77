"""Files from public addresses, with their checksums: taken up where an earlier try was cut off."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tqdm import tqdm

from netspec.errors import DataError

_BLOCK = 1 << 20
_SECONDS = 60
_PARTIAL, _NOTHING_LEFT = 206, 416  # the replies of HTTP to a request for the rest of a file


@dataclass(frozen=True)
class Remote:
    """A file that lies at each of some addresses, and its MD5 or SHA-256 as published, in hexadecimal digits."""

    name: str
    urls: Sequence[str]
    checksum: str


def download(remote: Remote, folder: Path) -> Path:
    """Fetch a file into `folder`; one that is there already is only checked, one that is there in part is completed.

    DataError where no address gives it, or where what came is not the known file: that is removed.
    """
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.exists():
        _check(target, str(target), remote)
        return target
    reasons = []
    for url in remote.urls:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(url, part)
        except (OSError, HTTPException) as error:
            reasons.append(f"{url} cannot be fetched to {target}: {error}")
            continue
        _check(part, f"{target} from {url}", remote)
        return part.rename(target)
    raise DataError(f"{'; '.join(reasons)}; --from takes what you have")


def _fetch(url: str, part: Path) -> None:
    """Append to a file what it lacks of an address's content."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            _append(reply, part, have if reply.status == _PARTIAL else 0)
    except urllib.error.HTTPError as error:
        if error.code != _NOTHING_LEFT or not have:
            raise


def _append(reply: Any, part: Path, have: int) -> None:
    length = reply.headers.get("Content-Length")
    total = have + int(length) if length else None
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem)
    with part.open("ab") as file, bar:
        file.truncate(have)
        while block := reply.read(_BLOCK):
            file.write(block)
            bar.update(len(block))
        if total is not None and file.tell() < total:
            raise ConnectionError(f"it ended after {file.tell()} of {total} bytes; the next try goes on from there")


def _check(path: Path, what: str, remote: Remote) -> None:
    """Remove what is not the known file, a DataError; `what` is how the message names it."""
    digest = hashlib.md5() if len(remote.checksum) == 32 else hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != remote.checksum:
        path.unlink()
        found = f"the checksum is {digest.hexdigest()} where {remote.checksum} is expected"
        raise DataError(f"{what}: {found}; it was removed, try again")
