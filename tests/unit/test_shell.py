"""The Python prompt: what it has at hand, and that it says whose data is before one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_has_settings_database_and_tables_at_hand(tmp_path: Path) -> None:
    (tmp_path / "app_database_password").write_text("made-up-Word-0123")
    settings = {
        "SECRETS_DIR": tmp_path,
        "RELEASE": "1a2b3c4d5e6f",
        "COLOUR": "blue",
        "ENVIRONMENT": "production",
        "DATABASE_HOST": "db.invalid",
        "DATABASE_NAME": "tasks",
        "DATABASE_USERNAME": "app",
        "DATABASE_CA_PATH": "/etc/steadfast/database-ca.pem",
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.shell"],
        input="print(select(tasks.c.id).where(tasks.c.status == 'failed'))\nprint(type(database).__name__)\n",
        env={"PATH": os.environ["PATH"], **{f"APP_{name}": str(value) for name, value in settings.items()}},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Release 1a2b3c4d5e6f of production" in done.stderr
    assert "FROM tasks" in done.stdout
    assert "Database" in done.stdout
    assert "Traceback" not in done.stderr
