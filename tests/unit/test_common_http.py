"""What HTTP answers mean; the exchange itself is tested against servers in the integration tier."""

from __future__ import annotations

import httpx
import pytest

from include.common.http import check_status, retry_after
from include.errors import ContractViolation, CredentialRefused, PipelineError, SourceMissing

DATE = "Sun, 07 Sep 2025 09:30:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "Sun, 07 Sep 2025 09:32:05 GMT", "Date": DATE}, 125.0),
        ({"Retry-After": "Sun, 07 Sep 2025 02:32:05 -0700", "Date": DATE}, 125.0),
        ({"Retry-After": "Sun, 07 Sep 2025 09:32:05 -0000", "Date": DATE}, 125.0),
        ({"Retry-After": "Sun, 07 Sep 2025 09:29:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "Sun, 07 Sep 2025 09:32:05 GMT"}, None),
        ({"Retry-After": "Sun, 07 Sep 2025 09:32:05 GMT", "Date": "today"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon", "Date": DATE}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_other_sides_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert retry_after(httpx.Response(429, headers=encoded)) == seconds


@pytest.mark.parametrize("status", [200, 204, 302, 304])
def test_answers_below_400_pass(status: int) -> None:
    check_status(httpx.Response(status), to="Feed")


@pytest.mark.parametrize(
    ("status", "kind", "what"),
    [
        (401, CredentialRefused, "Feed: refused with 401 Unauthorized."),
        (403, CredentialRefused, "Feed: refused with 403 Forbidden."),
        (404, SourceMissing, "Feed: not there (404 Not Found)."),
        (410, SourceMissing, "Feed: not there (410 Gone)."),
        (400, ContractViolation, "Feed: refused with 400 Bad Request: 'path: bad'."),
        (422, ContractViolation, "Feed: refused with 422 Unprocessable Entity: 'path: bad'."),
    ],
)
def test_other_answers_are_errors_that_say_what_they_mean(status: int, kind: type[PipelineError], what: str) -> None:
    with pytest.raises(kind) as refused:
        check_status(httpx.Response(status, text="path: bad"), to="Feed")
    assert type(refused.value) is kind
    assert refused.value.what == what
