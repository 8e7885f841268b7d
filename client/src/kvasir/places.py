"""Where a node is found that nobody named."""

from __future__ import annotations

import os
import pwd


def default_socket() -> str:
    """``KVASIR_SOCKET``, or where a node named ``local`` of this user opens its socket.

    The same as the node's own default. A user without an entry in the machine's user database (a container with a user
    number of its own) is called by its number.
    """
    named = os.environ.get("KVASIR_SOCKET")
    if named:
        return named
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return f"{runtime}/kvasir/local.sock"
    user = user_name()
    return "/run/kvasir/local.sock" if user == "root" else f"/tmp/kvasir-{user}/local.sock"  # noqa: S108


def user_name() -> str:
    """This process's user as the node names it: not what ``USER`` says, which another user may have left there."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
