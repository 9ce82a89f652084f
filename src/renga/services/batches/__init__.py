"""Work that goes on when nobody waits for it: message batches.

Owns: taking batches in, running their requests through `answer()`, their parts as durable tasks, the end of batches by
cancellation and by age.
Must never know: HTTP.
Invariants: a request has one outcome, written once, in one transaction with its ledger row; nothing here runs and dbos
is not imported until there is a batch.
"""

from renga.services.batches.batch_service import BatchService
from renga.services.batches.batch_worker import BatchWorker, WorkerLocation, place_of

__all__ = ["BatchService", "BatchWorker", "WorkerLocation", "place_of"]
