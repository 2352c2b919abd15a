"""How every process begins: its settings are read before anything else, and refused in plain words."""

import sys

import structlog

from app import logs
from app.settings import Process, SettingsRefused, load

# sysexits.h: something was found in an unconfigured or misconfigured state.
EX_CONFIG = 78


def begin(settings: type[Process]) -> Process:
    """The settings, with logging configured; or the end of the process, a line for each that is wrong."""
    logs.configure()
    try:
        loaded = load(settings)
    except SettingsRefused as refused:
        for line in refused.lines:
            structlog.get_logger().error("settings.refused", message=line)
        sys.exit(EX_CONFIG)
    logs.configure(loaded)
    return loaded
