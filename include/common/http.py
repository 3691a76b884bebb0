"""An HTTP exchange, tried again for as long as that can help, and what its answer means to an operator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from include.errors import (
    ContractViolation,
    CredentialRefused,
    PipelineError,
    RateLimited,
    SourceMissing,
    SourceUnavailable,
    TransientError,
)

if TYPE_CHECKING:
    from httpx import Response
    from tenacity import RetryCallState

log = logging.getLogger(__name__)

WAITS = (2.0, 4.0, 8.0, 16.0)
LONGEST_WAIT = 300.0


def exchange(
    send: Callable[[], Response],
    *,
    to: str,
    sleep: Callable[[float], None],
    waits: Sequence[float] = WAITS,
    longest_wait: float = LONGEST_WAIT,
) -> Response:
    """The first answer that is not 408, 425, 429 or 5xx; pass it on to :func:`check_status`.

    ``send`` does one whole attempt with httpx, body read, and returns its response; lost connections and timeouts count
    as failed attempts. ``waits`` are the seconds between attempts, so there is one attempt more. A Retry-After, for a
    429 without one a minute, counts instead of our own wait; if it is above ``longest_wait``, nothing more is tried.
    ``to`` names the other side and what is wanted from it, without any secret.

    Raises RateLimited when the other side asked to wait, SourceUnavailable for any other last failed attempt.
    """
    from httpx import TransportError
    from tenacity import Retrying, retry_if_exception, stop_after_attempt

    def attempt() -> Response:
        try:
            response = send()
        except TransportError as error:
            raise SourceUnavailable(
                f"{to}: no complete answer ({type(error).__name__}: {error}).",
                next_step="It is tried again. If it stays, check the network and the other side, then clear the task.",
            ) from error
        _raise_if_transient(response, to)
        return response

    def can_help(error: BaseException) -> bool:
        if isinstance(error, RateLimited):
            return error.retry_after <= longest_wait
        return isinstance(error, TransientError)

    def wait(state: RetryCallState) -> float:
        error = _error_of(state)
        if isinstance(error, RateLimited):
            return error.retry_after
        return (*waits, 0.0)[state.attempt_number - 1]  # asked after the last attempt, too

    return Retrying(
        retry=retry_if_exception(can_help),
        stop=stop_after_attempt(len(waits) + 1),
        wait=wait,
        sleep=sleep,
        before_sleep=lambda state: log.warning(
            "%s Trying again in %.0f s.", _error_of(state).what, state.upcoming_sleep
        ),
        reraise=True,
    )(attempt)


def retry_after(response: Response) -> float | None:
    """The seconds a Retry-After header asks for, given as such or as a date; None without a readable one.

    A date is compared with the answer's own Date header: the other side's clock may be wrong, the difference is not.
    """
    asked = response.headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    until, now = _moment(asked), _moment(response.headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def check_status(response: Response, *, to: str) -> None:
    """Let answers below 400 pass.

    Raises CredentialRefused for 401 and 403, SourceMissing for 404 and 410, ContractViolation for the rest.
    """
    status = f"{response.status_code} {response.reason_phrase}".strip()
    match response.status_code:
        case code if code < 400:
            return
        case 401 | 403:
            raise CredentialRefused(
                f"{to}: refused with {status}.",
                next_step="Renew the key or token in the connection, or permit the account; then clear the task.",
            )
        case 404 | 410:
            raise SourceMissing(f"{to}: not there ({status}).", next_step="Correct the name or path in the settings.")
        case _:
            raise ContractViolation(
                f"{to}: refused with {status}: {response.text[:200]!r}.",
                next_step="The answer says what it did not like; correct the settings or the program.",
            )


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _raise_if_transient(response: Response, to: str) -> None:
    status = response.status_code
    if status not in (408, 425, 429) and status < 500:
        return
    what = f"{to}: answered {status} {response.reason_phrase}".strip()
    asked = retry_after(response)
    wait = "Nothing to do: it is tried again after that time."
    if asked is not None:
        raise RateLimited(f"{what} and asked to wait {asked:.0f} s.", next_step=wait, retry_after=asked)
    if status == 429:
        raise RateLimited(f"{what} and asked to wait, without saying for how long.", next_step=wait)
    raise SourceUnavailable(
        f"{what}.", next_step="It is tried again. If it stays, ask whoever runs the other side, then clear the task."
    )


def _error_of(state: RetryCallState) -> PipelineError:
    """Why the attempt failed; only our own errors are ever tried again."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, PipelineError)  # noqa: S101 - for the type checker
    return error
