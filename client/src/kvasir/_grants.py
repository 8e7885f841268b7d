"""What an answer grants, and the request that gives it back when the call that asked does not take it over."""

from __future__ import annotations

from typing import Final

from kvasir import _engine_pb2 as pb
from kvasir.records import SlotStatus, slot_array

#: Answers that name regions, and may have granted something.
GRANTING: Final = frozenset(("lookup", "reserve", "resolve"))


def give_back(response: pb.Response) -> pb.Request | None:
    """Releases the lease of a lookup's answer, or aborts the slots of a reserve's; None when it granted nothing."""
    kind = response.WhichOneof("result")
    request = pb.Request()
    if kind == "lookup" and response.lookup.lease:
        request.release.leases.append(response.lookup.lease)
        return request
    if kind == "reserve":
        slots = slot_array(response.reserve.slots)
        granted = slots[slots["status"] == SlotStatus.GRANTED]
        if len(granted):
            request.abort.slots = granted.tobytes()
            return request
    return None
