"""THE path of a request: reserve, plan, send, settle. Every surface enters here.

Owns: the order of the steps, fallback before the first event, and that every lease is settled exactly once.
Must never know: HTTP, SQL, or which kind of provider answers.
Invariants: after `answer` returns, the first batch has arrived and nothing can be retried any more; a client that leaves
closes `Answer.events`, which closes the provider's stream and settles what was used.
"""
