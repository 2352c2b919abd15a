"""The kinds of task. A new kind is a module with an input schema and a handler, and a line here."""

from app.kinds import notify
from app.kinds.tools import Handler

HANDLERS: dict[str, Handler] = {notify.KIND: notify.handle}
