"""What comes back from Ray's workers: values, or the errors of this library as they were raised there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spdq.errors import SpdqError, UnavailableError


def fetched(answers: Any, seconds: float | None = None, who: str = "a worker") -> Any:
    """The values of one ``ObjectRef`` or a list of them, waited for at most ``seconds``.

    Raises as ``worker_errors``.
    """
    import ray

    with worker_errors(who):
        return ray.get(answers, timeout=seconds)


@contextmanager
def worker_errors(who: str = "a worker") -> Iterator[None]:
    """Turn what Ray raises into errors of this library.

    Raises
    ------
    SpdqError
        The one that was raised in the worker, without Ray's traceback around it.
    UnavailableError
        The worker died, its machine is gone, or it has not answered in time; the message begins with ``who``.
    """
    from ray import exceptions

    try:
        yield
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, SpdqError):
            raise cause from None
        if isinstance(cause, exceptions.RayError):
            raise _lost(who, cause) from error
        raise
    except exceptions.GetTimeoutError:
        raise UnavailableError(f"{who} has not answered in time. Try again, or allow it more") from None
    except exceptions.RayError as error:
        raise _lost(who, error) from error


def _lost(who: str, error: Exception) -> UnavailableError:
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return UnavailableError(f"{who} is lost ({reason.rstrip('.')}). Try again; Ray's logs say more")
