"""Keeps a client attached: the first time, and again after the node was started anew. Both faces use it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Final

from kvasir._attachment import Attachment, Membership
from kvasir.backoff import Backoff
from kvasir.deadline import Deadline
from kvasir.errors import ClosedError, ForkedError, KvasirError, NodeUnavailableError

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0
#: Attachments that one Attach may name.
_MOST_QUIESCED: Final = 4096


class Attacher:
    """Attaches on a thread of its own, so that a call that needs it waits no longer than its deadline.

    After a failure the next attempt waits 10 ms, then twice as long each time, to at most 1 s; calls in between fail at
    once with :class:`NodeUnavailableError`.
    """

    def __init__(self, member: Membership, attach_seconds: float) -> None:
        self.member = member
        self._seconds = attach_seconds
        self._lock = threading.Lock()
        self._current: Attachment | None = None
        self._attempt: Future[Attachment] | None = None
        self._quiesced: set[int] = set()
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._closed = False

    def current(self) -> Attachment | None:
        """The attachment to use, when there is one; the fast path of every call."""
        attachment = self._current
        if attachment is None or attachment.is_void() or self._closed:
            return None
        return attachment

    def begin(self) -> Future[Attachment]:
        """The attempt that is under way, or a new one.

        Raises:
            NodeUnavailableError: the last attempt failed just now.
            ForkedError, ClosedError: this client cannot attach any more.
        """
        if self._current is not None and self._current.forked:
            raise ForkedError("this client was made before the fork")
        with self._lock:
            if self._closed:
                raise ClosedError("the client was closed")
            if self._attempt is not None:
                return self._attempt
            if not self._backoff.due:
                raise NodeUnavailableError(f"the node on {self.member.socket_path} did not answer a moment ago")
            previous, self._current = self._current, None
            attempt: Future[Attachment] = Future()
            self._attempt = attempt
        threading.Thread(target=self._run, args=(attempt, previous), name="kvasir-attach", daemon=True).start()
        return attempt

    def _run(self, attempt: Future[Attachment], previous: Attachment | None) -> None:
        try:
            if previous is not None:
                previous.close()
            with self._lock:
                quiesced = sorted(self._quiesced)[:_MOST_QUIESCED]
            attachment = Attachment(self.member, Deadline.after(self._seconds), quiesced, self._note_quiesced)
        except BaseException as error:
            with self._lock:
                self._attempt = None
                self._backoff.failed()
            attempt.set_exception(error)
            return
        with self._lock:
            self._attempt = None
            self._backoff.reset()
            self._quiesced.difference_update(quiesced)
            closed = self._closed
            self._current = None if closed else attachment
        if closed:
            attachment.close()
            attempt.set_exception(ClosedError("the client was closed"))
        else:
            attempt.set_result(attachment)

    def _note_quiesced(self, attachment: int) -> None:
        self._quiesced.add(attachment)

    def wait(self, deadline: Deadline) -> Attachment:
        """The attachment, by blocking at most to ``deadline``."""
        attachment = self._current
        if attachment is not None and not attachment.is_void() and not self._closed:
            return attachment
        attempt = self.begin()
        try:
            return attempt.result(max(deadline.remaining(), 0))
        except KvasirError:
            raise
        except FutureTimeoutError as error:
            raise NodeUnavailableError("attaching to the node takes longer than this call's deadline") from error

    def rejoin(self, session: int, secret: bytes) -> None:
        """From the next attempt on another session is joined."""
        with self._lock:
            self.member = replace(self.member, session=session, secret=secret)
            self._backoff.reset()

    def close(self) -> None:
        """Ends the attachment; an attempt under way is undone when it ends."""
        with self._lock:
            self._closed = True
            attachment, self._current = self._current, None
        if attachment is not None:
            attachment.close()
