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
        # Section 6 of the commercial log: whoever asked for more than five minutes is not asked again any sooner.
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


def test_an_error_nobody_foresaw_is_not_tried_again():
    assert RETRY_BY_ERROR.evaluate(ZeroDivisionError(), 1, 2).action == RetryAction.FAIL


def test_every_error_is_transient_or_permanent():
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.PipelineError)
    ]
    for kind in set(kinds) - {errors.PipelineError}:
        assert issubclass(kind, errors.TransientError) != issubclass(kind, errors.PermanentError), kind
