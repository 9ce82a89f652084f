"""Signatures on thinking blocks: proof that a block came from here, unchanged, for this key.

Owns: the spelling `renga1.<model>.<mac>`, both parts in URL-safe base64 without padding.
Must never know: where the secret is kept.
Invariant: a signature of another system (no `renga1.` prefix, or another model's name) is *foreign*, not forged: its
block is history that this target cannot use, and is passed over. One of ours that does not match is a forgery.

Source: HMAC, RFC 2104; the rule that tampered thinking is refused, docs/reference/messages-api.md,
"Content blocks in a request" and "What this server does".
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from enum import Enum

from msgspec import Struct

from renga.errors import InvalidRequest
from renga.protocols.messages.blocks import ThinkingBlock

_PREFIX = "renga1"


class SignatureVerdict(Enum):
    """What the signature of a thinking block says of who wrote the block."""

    GENUINE = "genuine"
    FOREIGN = "foreign"
    FORGED = "forged"


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def sign(secret: bytes, model: str, owner: str, thinking: str) -> str:
    """The signature of one thinking block. `owner` is the key's id, so that blocks do not travel between keys."""
    fields = b"".join(
        len(part).to_bytes(8, "big") + part for part in (model.encode(), owner.encode(), thinking.encode())
    )
    mac = hmac.digest(secret, fields, "sha256")
    return f"{_PREFIX}.{_text(model.encode())}.{_text(mac)}"


def verify(secret: bytes, model: str, owner: str, thinking: str, *, signature: str) -> SignatureVerdict:
    """What a returned block's signature says of it. Compares in constant time."""
    prefix, _, rest = signature.partition(".")
    if prefix != _PREFIX or rest.partition(".")[0] != _text(model.encode()):
        return SignatureVerdict.FOREIGN
    genuine = hmac.compare_digest(signature.encode(), sign(secret, model, owner, thinking).encode())
    return SignatureVerdict.GENUINE if genuine else SignatureVerdict.FORGED


class Signer(Struct, frozen=True):
    """Who vouches for thinking blocks: one secret, for one model and one key."""

    secret: bytes
    model: str
    owner: str
    """The key's id."""

    def sign(self, thinking: str) -> str:
        """The signature of one thinking block."""
        return sign(self.secret, self.model, self.owner, thinking)

    def is_own(self, block: ThinkingBlock, path: str) -> bool:
        """Whether this model thought this, for this key; a foreign block is not ours and may be passed over.

        Raises: InvalidRequest if the block is a forgery.
        """
        verdict = verify(self.secret, self.model, self.owner, block.thinking, signature=block.signature)
        if verdict is SignatureVerdict.FORGED:
            raise InvalidRequest(
                "Invalid `signature` in `thinking` block.",
                path=f"{path}.signature",
                hint="send thinking blocks back unchanged",
            )
        return verdict is SignatureVerdict.GENUINE
