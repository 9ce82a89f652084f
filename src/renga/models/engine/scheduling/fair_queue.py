"""Who goes next: the line of requests that wait for the engine.

Owns: the order of admission.
Must never know: what a request is.
Invariants: lower priority numbers go first; within one priority owners take turns, and within one owner first come,
first served. So a key that queues a thousand requests delays another key's by one request at most.
"""

from __future__ import annotations

from collections import deque


class FairQueue:
    """Request ids in order of admission. Every operation but `remove` costs O(priorities), and those are few."""

    def __init__(self) -> None:
        self._turns: dict[int, dict[str, deque[int]]] = {}
        """Priority -> owner -> request ids. Owners stand in the order of their turns."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, request_id: int, *, key_id: str, priority: int) -> None:
        """Stand in line. An owner who was not in line gets the last turn."""
        self._turns.setdefault(priority, {}).setdefault(key_id, deque()).append(request_id)
        self._length += 1

    def next_priority(self) -> int:
        """The priority of whoever's turn it is.

        Raises: ValueError if nobody waits.
        """
        return min(self._turns)

    def take(self) -> int:
        """Take whoever's turn it is; its owner's next turn comes after everyone else's.

        Raises: IndexError if nobody waits.
        """
        if not self._length:
            raise IndexError("nobody waits")
        priority = min(self._turns)
        keys = self._turns[priority]
        key_id = next(iter(keys))
        line = keys.pop(key_id)
        request_id = line.popleft()
        if line:
            keys[key_id] = line
        elif not keys:
            del self._turns[priority]
        self._length -= 1
        return request_id

    def remove(self, request_id: int) -> bool:
        """Leave the line; False if not in it. Cost: O(waiting)."""
        for priority, keys in self._turns.items():
            for key_id, line in keys.items():
                if request_id in line:
                    line.remove(request_id)
                    self._length -= 1
                    if not line:
                        del keys[key_id]
                    if not keys:
                        del self._turns[priority]
                    return True
        return False
