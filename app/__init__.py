"""Steadfast: what happens to one task, and where.

1. api/notify.py reads the request;      2. kinds/notify.py says what a well-formed one looks like.
3. services/submission.py accepts it: it gives the id, heeds the recipient's limit, knows a repeated key.
4. db/repository.py stores the row, committed before the 202 leaves: from here on the row is the truth.
5. broker.py publishes the id at once;   relay/ publishes it again until a worker has it.
6. services/execution.py claims the row: one UPDATE, and whoever loses it does nothing; leases.py keeps it.
7. kinds/notify.py does the work through mail/, outside of any transaction.
8. services/execution.py records the end, but only while it still holds the claim (the row's fence).
9. services/progress.py reads the row, and api/task_status.py shows it.

Beside it tally.py counts and times, services/counting.py adds that to the database, api/metrics.py tells it.
"""
