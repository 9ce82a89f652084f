"""The accounts of this process, and a request that takes from its key's and its workspace's.

Owns: that a request takes from both or from neither.
Must never know: where limits are set, prices, other processes.
Invariant: `reserve`, `hold_dollars` and `settle` run on the event loop's thread and never wait.
"""

from __future__ import annotations

from renga.accounting.limits.account import Account, AccountContext, Hold
from renga.accounting.limits.limit_errors import render_refusal
from renga.accounting.limits.reservation import ReservationRequest, ReservedCost, SettledUse
from renga.accounting.limits.token_buckets import (
    AccountKind,
    LimitReached,
    LimitRefusal,
    Limits,
    LimitState,
    longer,
    tightest,
)


class Accounts:
    """The accounts of all keys and workspaces that have limits."""

    def __init__(self, context: AccountContext) -> None:
        self._context = context
        self._keys: dict[str, Account] = {}
        self._workspaces: dict[str, Account] = {}

    def reserve(self, reservation: ReservationRequest) -> Hold:
        """Take what a request is expected to need. It has limits of some kind.

        Raises: LimitReached, BudgetSpent; nothing is taken then.
        Cost: about 3 us with every limit of one account set.
        """
        context, limits = self._context, reservation.limits
        now_ns = context.clock.monotonic_ns()
        if limits is None or reservation.workspace_limits is not None:
            return self._reserve_both(reservation, now_ns)
        account = self._find(self._keys, "key", reservation.key_id, limits)
        now_us = context.spending.now_us() if account.has_budget else 0
        refusal = account.find_refusal(reservation, now_ns, now_us)
        if refusal is not None:
            raise self._refuse(refusal, account, None)
        hold = account.take(reservation, None)
        hold.at_us = now_us
        return hold

    def _reserve_both(self, reservation: ReservationRequest, now_ns: int) -> Hold:
        """The same for a request on a workspace, with or without one on a key."""
        own, common = reservation.limits, reservation.workspace_limits
        assert common is not None
        workspace = self._find(self._workspaces, "workspace", reservation.workspace_id, common)
        key = None if own is None else self._find(self._keys, "key", reservation.key_id, own)
        has_budget = workspace.has_budget or (key is not None and key.has_budget)
        now_us = self._context.spending.now_us() if has_budget else 0
        refusal = workspace.find_refusal(reservation, now_ns, now_us)
        if key is not None:
            refusal = longer(key.find_refusal(reservation, now_ns, now_us), refusal)
        if refusal is not None:
            raise self._refuse(refusal, key, workspace)
        hold = workspace.take(reservation, None)
        if key is not None:
            hold = key.take(reservation, hold)
        hold.at_us = now_us
        return hold

    def hold_dollars(self, hold: Hold, cost: ReservedCost) -> None:
        """Set aside what a request may cost at most.

        Raises: BudgetSpent, LimitReached if requests that came in between leave nothing. The hold is as it was then,
                and still to be settled.
        """
        refusal = hold.account.find_spent(hold, hold.at_us)
        workspace_hold = hold.workspace_hold
        if workspace_hold is not None:
            refusal = longer(refusal, workspace_hold.account.find_spent(workspace_hold, hold.at_us))
        if refusal is not None:
            is_key = hold.reservation.limits is not None
            first, second = (
                (hold.account, workspace_hold and workspace_hold.account) if is_key else (None, hold.account)
            )
            raise self._refuse(refusal, first, second)
        hold.input_nano_usd = cost.input_nano_usd
        hold.account.hold_dollars(hold, cost.most_nano_usd)
        if workspace_hold is not None:
            workspace_hold.account.hold_dollars(workspace_hold, cost.most_nano_usd)

    def settle(self, hold: Hold, used: SettledUse) -> None:
        """Correct what a request took to what it used."""
        now_ns = self._context.clock.monotonic_ns()
        hold.account.settle(hold, used, now_ns)
        if hold.workspace_hold is not None:
            hold.workspace_hold.account.settle(hold.workspace_hold, used, now_ns)

    def _find(self, accounts: dict[str, Account], kind: AccountKind, name: str, limits: Limits) -> Account:
        account = accounts.get(name)
        if account is None:
            account = accounts[name] = Account(kind, name, limits, self._context)
        elif account.limits is not limits:
            account.apply(limits)
        return account

    def _refuse(self, refusal: LimitRefusal, key: Account | None, workspace: Account | None) -> LimitReached:
        self._context.metrics.count_refusal(refusal.limit, refusal.kind)
        states: list[LimitState] = [each.read() for each in (key, workspace) if each is not None]
        state = states[0] if len(states) == 1 else tightest(*states)
        account = key if refusal.kind == "key" else workspace
        assert account is not None
        return render_refusal(refusal, account.limits, state, self._context.spending.now_us())
