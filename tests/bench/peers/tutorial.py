"""The peer, as tutorials teach it: FastAPI, `delay()`, results in Redis, `AsyncResult`; no database."""

import os
import smtplib
from email.message import EmailMessage

from celery import Celery
from celery.result import AsyncResult
from fastapi import FastAPI
from pydantic import BaseModel

celery = Celery("tutorial", broker=os.environ["PEER_REDIS_URL"], backend=os.environ["PEER_REDIS_URL"])


@celery.task(name="send_notification")
def send_notification(email: str, message: str | None) -> str:
    """The same mail that the project sends, unless the bench measures the way and not the work."""
    if "PEER_SMTP_PORT" in os.environ:
        mail = EmailMessage()
        mail["From"] = "tasks@example.com"
        mail["To"] = email
        mail["Subject"] = "Notification"
        mail.set_content(message or "")
        with smtplib.SMTP("localhost", int(os.environ["PEER_SMTP_PORT"])) as server:
            server.send_message(mail)
    return "sent"


class Notification(BaseModel):
    """What a client sends."""

    email: str
    message: str | None = None


app = FastAPI()


@app.post("/notify/", status_code=202)
async def notify(notification: Notification) -> dict[str, str]:
    task = send_notification.delay(notification.email, notification.message)
    return {"task_id": task.id}


@app.get("/task_status/{task_id}")
async def task_status(task_id: str) -> dict[str, object]:
    task = AsyncResult(task_id, app=celery)
    return {"task_id": task_id, "status": task.status, "result": task.result}
