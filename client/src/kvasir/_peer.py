"""Who answers on a socket: a process that nobody but the operator could have put there, or none that is talked to."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from kvasir.errors import NotPermittedError

#: Names the uids of nodes where the rule below does not know them: numbers with commas between, or ``any``.
SERVER_UID: Final = "KVASIR_SERVER_UID"
_CREDENTIALS: Final = struct.Struct("3i")


def check_server(sock: socket.socket, path: str) -> None:
    """Refuses a server that anybody on this machine could be: it would be believed whatever KV it gives.

    Taken are root, this process's own user, and the owner of the socket's directory, if only root, this user and that
    owner can put things in the directories above. ``KVASIR_SERVER_UID`` names others.

    Args:
        sock: connected to ``path``. The kernel says as which user the server began to listen.
        path: of the socket.

    Raises:
        NotPermittedError: names the user, and what to do.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    given = os.environ.get(SERVER_UID, "")
    if given:
        if given.strip() != "any" and str(uid) not in given.replace(",", " ").split():
            raise NotPermittedError(f"the server on {path} runs as uid {uid}; {SERVER_UID} is {given}")
        return
    if uid in (0, os.geteuid()) or _is_of_its_directory(Path(path), uid):
        return
    raise NotPermittedError(
        f"the server on {path} runs as uid {uid}, and others than it and root could have made the directory: "
        f"set {SERVER_UID}={uid} if that is the node"
    )


def _is_of_its_directory(path: Path, uid: int) -> bool:
    directory = Path(os.path.realpath(path.parent))
    if directory.stat().st_uid != uid:
        return False
    trusted = {0, uid, os.geteuid()}
    others = stat.S_IWGRP | stat.S_IWOTH
    return all(
        found.st_uid in trusted and not found.st_mode & others
        for found in (folder.stat() for folder in directory.parents)
    )
