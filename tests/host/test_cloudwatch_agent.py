"""The CloudWatch agent of a host: installed in the version that was asked for, configured, running."""

import json
from collections.abc import Callable
from typing import Any

from testinfra.host import Host

AGENT = "/opt/aws/amazon-cloudwatch-agent"
LOADED = f"{AGENT}/etc/amazon-cloudwatch-agent.d"
SOURCE = "/etc/amazon-cloudwatch-agent.json"

ReadSetting = Callable[[str, Any], Any]


def test_the_version_that_was_asked_for_is_installed(host: Host, read_setting: ReadSetting) -> None:
    version = host.package("amazon-cloudwatch-agent").version
    assert version.rpartition("-")[0] == read_setting("cloudwatch_agent_version", "1.300072.0b1766")


def test_the_agent_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("amazon-cloudwatch-agent.service")
    assert service.is_running
    assert service.is_enabled


def test_the_agent_has_loaded_what_the_role_wrote_and_nothing_else(host: Host) -> None:
    assert host.file(LOADED).listdir() == ["file_amazon-cloudwatch-agent.json"]
    loaded = host.file(f"{LOADED}/file_amazon-cloudwatch-agent.json").content_string
    assert json.loads(loaded) == json.loads(host.file(SOURCE).content_string)
    status = json.loads(host.check_output(f"{AGENT}/bin/amazon-cloudwatch-agent-ctl -a status"))
    assert (status["status"], status["configstatus"]) == ("running", "configured")


def test_metrics_and_logs_go_where_the_inventory_says(host: Host, read_setting: ReadSetting) -> None:
    configuration = json.loads(host.file(SOURCE).content_string)
    namespace = read_setting("cloudwatch_agent_namespace", "")
    assert configuration["metrics"]["namespace"] == namespace
    collected = configuration["logs"]["logs_collected"]
    logs = collected["journald"]["collect_list"] + collected["files"]["collect_list"]
    assert {log["log_group_name"] for log in logs} == {f"/{namespace}/host"}
    assert {log["retention_in_days"] for log in logs} == {
        read_setting("cloudwatch_agent_log_retention_days", read_setting("app_stack_log_retention_days", 30))
    }


def test_every_log_file_that_is_collected_is_there(host: Host) -> None:
    configuration = json.loads(host.file(SOURCE).content_string)
    for log in configuration["logs"]["logs_collected"]["files"]["collect_list"]:
        assert host.file(log["file_path"]).size > 0


def test_credentials_are_named_only_where_they_are_set(host: Host, read_setting: ReadSetting) -> None:
    written = host.file(f"{AGENT}/etc/common-config.toml").content_string
    path = read_setting("cloudwatch_agent_credentials_path", "")
    assert ("[credentials]" in written) == bool(path)
    assert path in written
