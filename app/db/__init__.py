"""PostgreSQL: the truth about every task."""
