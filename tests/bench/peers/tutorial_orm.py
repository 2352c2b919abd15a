"""The second peer: the tutorial, with a row that SQLAlchemy's ORM commits before `delay()`."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from tests.bench.peers.tutorial import Notification, send_notification

engine = create_engine(os.environ["PEER_DATABASE_URL"])
SessionLocal = sessionmaker(engine)


class Base(DeclarativeBase):
    """Of all tables."""


class Task(Base):
    """A notification that was asked for."""

    __tablename__ = "peer_tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    message: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="queued")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


def get_session() -> Iterator[Session]:
    with SessionLocal() as session:
        yield session


app = FastAPI()


# Plain `def`, as tutorials do with a synchronous session: FastAPI runs it in a pool of threads.
@app.post("/notify/", status_code=202)
def notify(
    notification: Notification, session: Annotated[Session, Depends(get_session)]
) -> dict[str, object]:
    row = Task(email=notification.email, message=notification.message)
    session.add(row)
    session.commit()
    task = send_notification.delay(notification.email, notification.message)
    return {"task_id": task.id, "row": row.id}
