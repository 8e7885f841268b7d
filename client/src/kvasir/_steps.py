"""What a call of the client yields, and is sent back by whoever drives it (``client``, ``aio``)."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from functools import update_wrapper
from typing import Any, Final, TypeVar

from kvasir import _engine_pb2 as pb
from kvasir._copy import Copies
from kvasir.deadline import Deadline
from kvasir.regions import RegionMap

_T = TypeVar("_T")
_Method = TypeVar("_Method", bound=Callable[..., Any])


class Attach:
    """Asks for the attachment, which is made when there is none. Until ``deadline`` the requests after it are answered.

    The result is a :class:`kvasir._attachment.Attachment`.
    """

    __slots__ = ("deadline",)

    def __init__(self, deadline: Deadline) -> None:
        self.deadline: Final = deadline


class Work(ABC):
    """Keeps a thread busy for a while. The result is what :meth:`run` returns.

    Attributes:
        stop: set by another thread: ``run`` returns soon, and its result counts for nothing.
    """

    stop = False

    @abstractmethod
    def run(self, copier: Copies) -> Any:
        """Does it; when this returns or raises, nothing of it goes on."""


class MapRegions(Work):
    """Maps the regions that an answer names."""

    def __init__(self, mapped: RegionMap, regions: Sequence[pb.Region]) -> None:
        self._mapped, self._regions = mapped, regions

    def run(self, copier: Copies) -> None:  # noqa: ARG002
        """Raises RegionError for a file that is not what the answer says."""
        self._mapped.add(self._regions)


#: A request is sent; its result is the response, and an error that the node answers is raised.
Step = Attach | pb.Request | Work
#: A call that returns ``_T``.
Call = Generator[Step, Any, _T]


def method_of(call: Callable[..., Call[Any]], method: _Method) -> _Method:
    """``method`` with the name, the documentation and the arguments of the call that it drives."""
    update_wrapper(method, call)
    signature = inspect.signature(call)
    returned = str(signature.return_annotation).removeprefix("Call[").removesuffix("]")
    method.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
    return method
