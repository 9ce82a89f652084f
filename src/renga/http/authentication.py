"""Authentication: whose key a request carries.

Owns: where a key may stand in a request. Must never know: how keys are kept.
Invariant: a key is never logged or echoed, not even in part.

Source: messages-api notes, sections 1.1 and 6.3 (Bearer, x-api-key, api-key).
"""

from __future__ import annotations

from collections.abc import Mapping

from renga.accounting.keys.key_ring import KeyIdentity, KeyRing
from renga.domain.keys import KeyScope
from renga.errors import PermissionDenied, Unauthenticated

_BEARER = b"bearer "


def identify_key(headers: Mapping[bytes, bytes], keys: KeyRing) -> KeyIdentity | None:
    """Whose key a request carries; None if it is not known, or not yet (`seek_key`).

    Raises: Unauthenticated when there is none, or its time is over.
    """
    return keys.identify(_secret(headers))


async def seek_key(headers: Mapping[bytes, bytes], keys: KeyRing) -> KeyIdentity:
    """Whose key a request carries that was not known a moment ago.

    Raises: Unauthenticated when it is nobody's.
    """
    identity = await keys.seek(_secret(headers))
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


def _secret(headers: Mapping[bytes, bytes]) -> str:
    """An explicit key wins over a Bearer token: clients of other clouds send both, and only the key is ours.

    Raises: Unauthenticated when there is none.
    """
    secret = headers.get(b"x-api-key") or headers.get(b"api-key")
    if secret is None:
        authorization = headers.get(b"authorization", b"")
        is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
        secret = authorization[len(_BEARER) :] if is_bearer else b""
    secret = secret.strip()
    if not secret:
        raise Unauthenticated("No API key was given.", hint="send it as Authorization: Bearer, or as x-api-key")
    return secret.decode("latin-1")  # no key of ours has a character beyond ASCII, so any such secret is nobody's
