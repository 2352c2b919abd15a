"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Expand only: the release that is running now must work with the schema before and after.

    What only older releases need may be taken away, with `contracts = True` above: none of them can come back then.
    """
    ${upgrades if upgrades else "raise NotImplementedError"}
