"""The Celery application, the queue and the task's name: the only file that knows both sides of the broker.

A message carries an id and nothing else; publishers and workers meet at a name, never at an import.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis
from celery import Celery
from kombu import Producer
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import BrokerUnavailable
from app.settings import BrokerSettings

QUEUE = "steadfast"
RUN_TASK = "steadfast.run_task"
_SOCKET_TIMEOUT_SECONDS = 2
# For whoever only looks at Redis, and must answer in time itself.
_LOOK_TIMEOUT_SECONDS = 0.5
# Celery's own batches: one round trip to Redis for so many messages.
_BATCH = 32


def celery_app(settings: BrokerSettings) -> Celery:
    """Celery as both sides use it: JSON only, and no results or schedules, since the row has them."""
    app = Celery("steadfast", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        # Acknowledged when it begins. Late or early makes no difference: what is lost with a worker, the
        # relay publishes again.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        # For ever: a hundred tries is Celery's default, and then the worker would stay deaf.
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": _SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": _SOCKET_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 5,
            # Two transactions a message, to restore hours later what the relay has published again long ago.
            "ack_emulation": False,
        },
    )
    return app


def redis_client(settings: BrokerSettings) -> redis.Redis:
    """For a question or two: connecting and each answer take half a second at most, else redis.RedisError."""
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=_LOOK_TIMEOUT_SECONDS,
        socket_connect_timeout=_LOOK_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


class Publisher:
    """Publishes ids. For one thread; after a failure it begins with a new connection."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._app = celery_app(settings)
        self._connection = self._app.connection_for_write()
        self._errors = (
            *self._connection.connection_errors,
            *self._connection.channel_errors,
            KombuError,
            OSError,
        )
        self._producer: Producer | None = None

    def publish(self, task_ids: Sequence[str]) -> None:
        """Hands the ids to the broker. Raises BrokerUnavailable when it is not known that it has them all."""
        with self._producing() as producer, producer.batch(_BATCH):
            for task_id in task_ids:
                # argsrepr is what Flower shows; made here, because Celery's own repr is the dearest part.
                message = self._app.amqp.as_task_v2(
                    task_id,
                    RUN_TASK,
                    args=(task_id,),
                    argsrepr=f"('{task_id}',)",
                    kwargsrepr="{}",
                    ignore_result=True,
                )
                # To the queue by name, through no exchange: nothing is declared, so Redis can forget nothing.
                producer.publish(
                    message.body,
                    routing_key=QUEUE,
                    serializer="json",
                    headers=message.headers,
                    **message.properties,
                )

    def depth(self) -> int:
        """How many ids wait in the queue. Raises BrokerUnavailable."""
        with self._producing() as producer:
            return int(producer.channel.queue_declare(queue=QUEUE).message_count)

    def close(self) -> None:
        """Ends the connection; the next call makes a new one."""
        self._producer = None
        self._connection.release()

    @contextmanager
    def _producing(self) -> Iterator[Producer]:
        try:
            if self._producer is None:
                self._connection = self._app.connection_for_write()
                self._producer = Producer(self._connection)
            yield self._producer
        except self._errors as error:
            self.close()
            raise BrokerUnavailable(str(error)) from error
