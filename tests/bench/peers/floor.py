"""The floor: no database, and the cheapest publish there is: the project's batches, shared by requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI

from app.api.batching import Batcher
from app.broker import Publisher
from app.errors import AppError
from app.settings import BrokerSettings, load
from tests.bench.peers.tutorial import Notification


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    publisher = Publisher(load(BrokerSettings))

    def publish(task_ids: list[str]) -> list[str | AppError]:
        publisher.publish(task_ids)
        return [*task_ids]

    app.state.publishing = Batcher("publish", publish)
    yield
    app.state.publishing.close()


app = FastAPI(lifespan=lifespan)


@app.post("/notify/", status_code=202)
async def notify(notification: Notification) -> dict[str, str]:
    return {"task_id": await app.state.publishing.ask(str(uuid4()))}
