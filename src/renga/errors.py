"""The error tree, and the one table that maps it to HTTP.

Owns: every error that may reach a client, its HTTP status and whether another target may be tried.
Must never know: HTTP frameworks, providers, or wire formats other than the error body's fields.
Invariants: a message never holds a secret or a prompt; `retryable` means "another attempt may succeed".

    RengaError
    |- InvalidRequest        400  the request is wrong; `path` says where
    |- Unauthenticated       401
    |- PaymentRequired       402
    |- PermissionDenied      403
    |- NotFound              404
    |- MethodNotAllowed      405
    |- RequestTimedOut       408
    |- Conflict              409
    |- RequestTooLarge       413
    |- RateLimited           429  retryable elsewhere
    |- ApiError              500  retryable
    |   `- EngineDied        500  retryable: the engine process was lost with the request in flight
    |- UpstreamTimedOut      504  retryable
    `- Overloaded            529  retryable
"""

from __future__ import annotations

from typing import ClassVar


class RengaError(Exception):
    """An error with everything a client needs: what was wrong, where, and what to do.

    Source: error types and statuses, Messages API error table (docs/reference/errors.md).
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        hint: str | None = None,
        error_code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        """Where in the request's JSON, as `messages.0.content.1.text`."""
        self.hint = hint
        """What the user can do about it."""
        self.error_code = error_code
        """Becomes `error.details.error_code`; SDKs choose a subclass by it."""
        self.retry_after_s = retry_after_s

    def sentence(self) -> str:
        """The message as a client reads it: `path: message. hint`."""
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text


class InvalidRequest(RengaError):
    """The request itself is wrong, and sending it again will not help."""

    status = 400
    type = "invalid_request_error"


class Unauthenticated(RengaError):
    """No valid key came with the request."""

    status = 401
    type = "authentication_error"


class PaymentRequired(RengaError):
    """The money that a key or a workspace may spend is used up."""

    status = 402
    type = "billing_error"


class PermissionDenied(RengaError):
    """The key is valid, and may not do what it asked for."""

    status = 403
    type = "permission_error"


class NotFound(RengaError):
    """What the request names does not exist, or is not the caller's."""

    status = 404
    type = "not_found_error"


class MethodNotAllowed(RengaError):
    """The path exists, and does not take this HTTP method."""

    status = 405
    type = "invalid_request_error"


class RequestTimedOut(RengaError):
    """The client took too long to send its request."""

    status = 408
    type = "invalid_request_error"


class Conflict(RengaError):
    """The request does not go with the state that its subject is in."""

    status = 409
    type = "conflict_error"


class RequestTooLarge(RengaError):
    """The body is longer than this server accepts."""

    status = 413
    type = "request_too_large"


class RateLimited(RengaError):
    """A limit on requests or tokens is reached; waiting helps, or another target."""

    status = 429
    type = "rate_limit_error"
    retryable = True


class ApiError(RengaError):
    """Something here or at the target failed; another attempt may succeed."""

    status = 500
    type = "api_error"
    retryable = True


class EngineDied(ApiError):
    """The engine process ended with this request in flight; a new one is being started."""


class UpstreamTimedOut(RengaError):
    """The target did not answer in time; another one may."""

    status = 504
    type = "timeout_error"
    retryable = True


class Overloaded(RengaError):
    """There is no room for the request at this moment."""

    status = 529
    type = "overloaded_error"
    retryable = True


class ConfigError(RengaError):
    """A setting, file or command-line value is wrong; raised at start, never during a request."""


BY_STATUS: dict[int, type[RengaError]] = {
    error.status: error
    for error in (
        InvalidRequest,
        Unauthenticated,
        PaymentRequired,
        PermissionDenied,
        NotFound,
        RequestTimedOut,
        Conflict,
        RequestTooLarge,
        RateLimited,
        ApiError,
        UpstreamTimedOut,
        Overloaded,
    )
}
"""What an upstream's status becomes here. 5xx not listed is `ApiError`, 4xx not listed `InvalidRequest`."""


def error_for_status(status: int) -> type[RengaError]:
    """The class for an upstream's HTTP status."""
    known = BY_STATUS.get(status)
    if known is not None:
        return known
    return ApiError if status >= 500 else InvalidRequest
