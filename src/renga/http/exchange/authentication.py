"""Authentication: whose key a request carries.

Owns: which of the places where a key may stand counts. Must never know: how keys are kept.
Invariant: a key is never logged or echoed, not even in part.

Source: docs/reference/messages-api.md, "Transport" and "Other clouds".
"""

from __future__ import annotations

from renga.accounting.keys.key_ring import KeyIdentity, KeyRing
from renga.domain.keys import KeyScope
from renga.errors import PermissionDenied, Unauthenticated
from renga.http.exchange.http_exchange import HttpExchange

_BEARER = b"bearer "


def identify_key(exchange: HttpExchange, keys: KeyRing) -> KeyIdentity | None:
    """Whose key a request carries; None if it is not known, or not yet (`seek_key`).

    Raises: Unauthenticated when there is none, or its time is over.
    """
    return keys.identify(_find_secret(exchange))


async def seek_key(exchange: HttpExchange, keys: KeyRing) -> KeyIdentity:
    """Whose key a request carries that was not known a moment ago.

    Raises: Unauthenticated when it is nobody's.
    """
    identity = await keys.seek(_find_secret(exchange))
    if identity is None:
        raise Unauthenticated("The API key is not valid.", hint="`renga keys create` makes one")
    return identity


def check_scope(identity: KeyIdentity, scope: KeyScope) -> None:
    """Raises: PermissionDenied when the key is not good for this kind of route."""
    if not identity.terms.allows(scope):
        raise PermissionDenied(
            f"This key lacks the scope `{scope}`.",
            hint=f"`renga keys update {identity.key_id} --scope {scope}` gives it",
        )


def _find_secret(exchange: HttpExchange) -> str:
    """An explicit key wins over a Bearer token: clients of other clouds send both, and only the key is ours.

    Raises: Unauthenticated when there is none.
    """
    headers = exchange.headers
    secret: bytes | None = None
    for name in exchange.surface.header_names.keys:
        secret = secret or headers.get(name)
    if secret is None:
        authorization = headers.get(b"authorization", b"")
        is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
        secret = authorization[len(_BEARER) :] if is_bearer else b""
    secret = secret.strip()
    if not secret:
        raise Unauthenticated("No API key was given.", hint="send it as Authorization: Bearer, or as x-api-key")
    return secret.decode("latin-1")  # no key of ours has a character beyond ASCII, so any such secret is nobody's
