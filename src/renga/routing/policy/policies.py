"""Policies: the names that are answered by the cheapest tier that is good enough, and what each may keep.

Owns: which names have a policy, its settings, and whether it is suspended.
Must never know: requests, targets, prices; what its rules conclude (`routing/policy/policy_rules.py`).
Invariants: `auto` always has one; a certificate, curve or head that is broken is refused when the policies are built;
what needs numpy is loaded by the first request that needs it, or beside a server's start (`warm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from renga.config.routing import PolicySettings

if TYPE_CHECKING:
    from renga.routing.policy.policy_rules import PolicyRules

AUTO = "auto"


class Policy:
    """One name's policy, for as long as the server runs."""

    def __init__(self, name: str, settings: PolicySettings) -> None:
        self.name = name
        self.settings = settings
        self.suspended: str | None = None
        """Why nothing may be kept for now, in one short word; None: it may. The floor's monitor sets it."""

    @cached_property
    def rules(self) -> PolicyRules:
        """What it may keep, read from its files.

        Raises: ConfigError naming the file that is broken or proves something else.
        """
        from renga.routing.policy.policy_rules import build_rules

        return build_rules(self.name, self.settings)

    @property
    def is_proven(self) -> bool | None:
        """Whether a certificate proves its floor; None: it has no floor."""
        return None if self.settings.floor_points is None else self.settings.certificate is not None


class Policies:
    """All of them, by the name that clients use."""

    def __init__(self, settings: Mapping[str, PolicySettings]) -> None:
        """Raises: ConfigError naming the file of a policy that is broken."""
        self._policies = {name: Policy(name, each) for name, each in settings.items()}
        self._policies.setdefault(AUTO, Policy(AUTO, PolicySettings()))
        for policy in self._policies.values():
            each = policy.settings
            if each.certificate is not None or each.curves is not None or each.head is not None:
                _ = policy.rules

    def __iter__(self):
        return iter(self._policies.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all policies, in the order of the settings file."""
        return tuple(self._policies)

    def find(self, name: str) -> Policy | None:
        """The policy of a name; None where it has none."""
        return self._policies.get(name)

    @property
    def store_answers(self) -> bool:
        """Whether any of them wants answers to be stored."""
        return any(policy.settings.response_cache for policy in self)

    def warm(self) -> None:
        """Load what policies need, so that no request waits for it. 0.2 s; from any thread."""
        for policy in self._policies.values():
            _ = policy.rules
