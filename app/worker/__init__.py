"""The Celery worker: thin tasks that call a service and translate its answer."""
