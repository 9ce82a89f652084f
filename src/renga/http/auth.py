"""Authentication: whose key a request carries.

Owns: where a key may stand in a request. Must never know: how keys are kept.
Invariant: a key is never logged or echoed, not even in part.

Source: messages-api notes, sections 1.1 and 6.3 (Bearer, x-api-key, api-key).
"""

from __future__ import annotations

from collections.abc import Mapping

from renga.errors import PermissionDenied, Unauthenticated
from renga.http.parts import Keys
from renga.meter.keys import KeyIdentity
from renga.store.rows import KeyScope

_BEARER = b"bearer "


def identify_key(headers: Mapping[bytes, bytes], keys: Keys) -> KeyIdentity:
    """Whose key a request carries.

    Raises: Unauthenticated when there is none, or none that is known.
    """
    secret = _secret(headers)
    if not secret:
        raise Unauthenticated("No API key was given.", hint="send it as Authorization: Bearer, or as x-api-key")
    try:
        identity = keys.identify(secret.decode("ascii"))
    except UnicodeDecodeError:
        identity = None
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


def _secret(headers: Mapping[bytes, bytes]) -> bytes:
    """An explicit key wins over a Bearer token: clients of other clouds send both, and only the key is ours."""
    secret = headers.get(b"x-api-key") or headers.get(b"api-key")
    if secret is not None:
        return secret.strip()
    authorization = headers.get(b"authorization", b"")
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else b""
