"""The exception tree is the retry policy."""

from datetime import timedelta

import pytest
from airflow.sdk import RetryAction
from dagkit.policies import RETRY_BY_ERROR

from include import errors


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (errors.SourceUnavailable, RetryAction.RETRY, timedelta(minutes=5)),
        (errors.SourceChanging, RetryAction.RETRY, timedelta(seconds=30)),
        (errors.StoreBusy, RetryAction.RETRY, timedelta(seconds=30)),
        (errors.RateLimited, RetryAction.RETRY, timedelta(minutes=15)),
        (errors.ContractViolation, RetryAction.FAIL, None),
        (errors.CredentialRefused, RetryAction.FAIL, None),
        (errors.StaleInput, RetryAction.FAIL, None),
        (errors.AlreadyRunning, RetryAction.FAIL, None),
        (errors.CheckFailed, RetryAction.FAIL, None),
    ],
)
def test_only_what_may_pass_is_tried_again(error, action, delay):
    decision = RETRY_BY_ERROR.evaluate(error("what.", next_step="do."), 1, 2)
    assert (decision.action, decision.retry_delay) == (action, delay)


def test_who_asked_to_wait_is_not_asked_again_any_sooner():
    """Section 6 of the commercial log: an upload that is refused for an hour."""
    error = errors.RateLimited("what.", next_step="do.", retry_after=3600)
    assert RETRY_BY_ERROR.evaluate(error, 1, 2).retry_delay == timedelta(hours=1)


def test_an_error_nobody_foresaw_is_not_tried_again():
    assert RETRY_BY_ERROR.evaluate(ZeroDivisionError(), 1, 2).action == RetryAction.FAIL


def test_every_error_is_transient_or_permanent():
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.PipelineError)
    ]
    for kind in set(kinds) - {errors.PipelineError}:
        assert issubclass(kind, errors.TransientError) != issubclass(kind, errors.PermanentError), kind
