"""The use cases: no FastAPI and no Celery in them."""
