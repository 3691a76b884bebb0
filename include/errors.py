"""Every way a step can fail. The tree *is* the retry policy.

::

    PipelineError
    ├── TransientError            trying the same thing again can help
    │   ├── SourceUnavailable     no connection, a timeout, a connection lost on the way
    │   ├── SourceChanging        the source was written to while it was read
    │   ├── RateLimited           the other side asked to wait; carries ``retry_after``
    │   └── StoreBusy             our own store is locked by another reader or writer
    └── PermanentError            trying again cannot help, somebody has to do something
        ├── SourceMissing         the path, file or object is not there
        ├── CredentialRefused     login, key or token was refused
        ├── ContractViolation     the data is not what was agreed: sheet, header, type, limit
        ├── StaleInput            the data is too old, or older than what is already loaded
        ├── AlreadyRunning        the same job is at work in another process
        ├── StoreFull             no space or quota left where the result should go
        ├── RequestRefused        the operator's request cannot be carried out as given
        └── CheckFailed           a result did not pass its verification

``dagkit.policies`` maps the first branch to a retry and the second to an immediate failure.
"""


class PipelineError(Exception):
    """What went wrong (system, file, row, column) and what to do next, in two sentences an operator can act on."""

    def __init__(self, what: str, *, next_step: str) -> None:
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} Next step: {self.next_step}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.next_step, self.__dict__)


def _rebuild(kind: type[PipelineError], what: str, next_step: str, state: dict[str, object]) -> PipelineError:
    error = kind(what, next_step=next_step)
    error.__dict__.update(state)
    return error


class TransientError(PipelineError):
    """Trying the same thing again can help."""


class SourceUnavailable(TransientError):
    """No connection, a timeout, or a connection lost on the way."""


class SourceChanging(TransientError):
    """The source was written to while it was read."""


class RateLimited(TransientError):
    """The other side asked to wait ``retry_after`` seconds."""

    def __init__(self, what: str, *, next_step: str, retry_after: float = 60.0) -> None:
        super().__init__(what, next_step=next_step)
        self.retry_after = retry_after


class StoreBusy(TransientError):
    """Our own store is locked by another reader or writer."""


class PermanentError(PipelineError):
    """Trying again cannot help; somebody has to do something."""


class SourceMissing(PermanentError):
    """The path, file or object is not there."""


class CredentialRefused(PermanentError):
    """Login, key or token was refused."""


class ContractViolation(PermanentError):
    """The data is not what was agreed."""


class StaleInput(PermanentError):
    """The data is too old, or older than what is already loaded."""


class AlreadyRunning(PermanentError):
    """The same job is at work in another process."""


class StoreFull(PermanentError):
    """No space or quota left where the result should go."""


class RequestRefused(PermanentError):
    """The operator's request cannot be carried out as given."""


class CheckFailed(PermanentError):
    """A result did not pass its verification."""
