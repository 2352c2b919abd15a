"""`python -m app.worker`"""

from app import process
from app.settings import WorkerSettings
from app.worker import main

main.run(process.begin(WorkerSettings))
