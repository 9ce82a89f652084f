"""Work that goes on when nobody waits for it: message batches.

Owns: taking batches in, running their requests through `answer()`, scheduling on dbos, the end of batches by
cancellation and by age.
Must never know: HTTP.
Invariants: a request has one outcome, written once, in one transaction with its ledger row; nothing here runs and dbos
is not imported until there is a batch.
"""

from renga.jobs.desk import BatchDesk
from renga.jobs.storage import BatchStorage
from renga.jobs.worker import BatchWorker, Place, place_of

__all__ = ["BatchDesk", "BatchStorage", "BatchWorker", "Place", "place_of"]
