"""What site.yml says to input that cannot work: cause and next command, before anything is changed."""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import boto3
import pytest
import yaml

from tests.aws.endpoint import CREDENTIALS, KEYS, moto, refusing
from tests.aws.operator import ROOT, Run, run

PATH = "/steadfast/production/"
NEEDED = sorted(
    yaml.safe_load((ROOT / "roles/app_stack/vars/main.yml").read_text())[
        "__app_stack_parameters_needed"
    ].values()
)
Play = Callable[..., Run]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """site.yml with production's settings, filled in, and one host whose ssh port nobody listens on."""
    host = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "admin"}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"stack": {"hosts": {"app-1": host}}}))
    (tmp_path / "group_vars").symlink_to(ROOT / "inventory" / "production" / "group_vars")
    (tmp_path / "rds-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    filled_in = {
        "app_stack_domain_name": "tasks.steadfast.internal",
        "app_stack_mail_from": "tasks@steadfast.internal",
        "app_stack_smoke_test_recipient": "operations@steadfast.internal",
        "app_stack_database_ca_path": str(tmp_path / "rds-ca.pem"),
    }

    def site(url: str = "", settings: dict[str, Any] | None = None, **environment: str) -> Run:
        given = yaml.safe_dump(filled_in | (settings or {}), default_flow_style=True, width=10**6)
        over = {"AWS_ENDPOINT_URL": url} if url else {}
        extra = ("--extra-vars", given.strip())
        return run(
            "ansible-playbook", "-i", tmp_path, *extra, "site.yml", home=tmp_path, **over, **environment
        )

    return site


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An account that has every parameter, in eu-central-1."""
    with moto() as found:
        ssm = boto3.client("ssm", region_name="eu-central-1", endpoint_url=found, **KEYS)
        for name in NEEDED:
            ssm.put_parameter(Name=PATH + name, Value="made-up-Word-1", Type="SecureString")
        yield found


def refused(done: Run, *words: str) -> None:
    """It stopped soon, said these words, and had changed nothing."""
    assert done.status != 0, done.output
    assert [word for word in words if word not in done.words] == [], done.output
    assert done.was_quick, (done.work_seconds, done.seconds)
    assert "Traceback" not in done.output
    assert "TASK [docker_engine" not in done.output, "the first check was passed"
    assert "changed=1" not in done.output


def test_without_credentials(play: Play) -> None:
    refused(play(), "Unable to locate credentials", "aws sts get-caller-identity")


def test_credentials_that_have_expired(play: Play) -> None:
    expired = ("ExpiredTokenException", "The security token included in the request is expired")
    with refusing(*expired) as url:
        done = play(url, **CREDENTIALS)
    refused(done, "The security token included in the request is expired", "aws sts get-caller-identity")


def test_another_region_than_that_of_the_parameters(play: Play, url: str) -> None:
    done = play(url, {"app_stack_aws_region": "eu-west-1"}, **CREDENTIALS)
    refused(
        done, "in eu-west-1 gave nothing below /steadfast/production/", "Is app_stack_aws_region the region"
    )


def test_a_region_that_does_not_exist(play: Play) -> None:
    done = play(settings={"app_stack_aws_region": "eu-middle-1"}, **CREDENTIALS)
    refused(done, "https://ssm.eu-middle-1.amazonaws.com/", "Is app_stack_aws_region a region of AWS")


def test_all_parameters_that_are_missing_are_named_at_once(play: Play) -> None:
    missing = ["database/host", "database/master_password", "flower/password", "smtp/password"]
    with moto() as url:
        ssm = boto3.client("ssm", region_name="eu-central-1", endpoint_url=url, **KEYS)
        for name in {*NEEDED, "database/master_username"} - set(missing):
            ssm.put_parameter(Name=PATH + name, Value="made-up-Word-1", Type="String")
        done = play(url, **CREDENTIALS)
        refused(done, f"lacks: {', '.join(PATH + name for name in missing)}.", "aws ssm put-parameter")
        # The next run carries on, as far as the host.
        for name in missing:
            ssm.put_parameter(Name=PATH + name, Value="made-up-Word-1", Type="String")
        refused(play(url, **CREDENTIALS), "app-1 gives no answer")


def test_a_path_that_is_denied(play: Play) -> None:
    with moto() as url:
        iam = boto3.client("iam", region_name="eu-central-1", endpoint_url=url, **KEYS)
        iam.create_user(UserName="operator")
        key = iam.create_access_key(UserName="operator")["AccessKey"]
        # From here on moto asks for permissions, and this user has none.
        connection = http.client.HTTPConnection(urlparse(url).netloc)
        connection.request("POST", "/moto-api/reset-auth", body=b"0")
        assert connection.getresponse().status == 200
        operator = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        done = play(url, **operator)
    refused(
        done,
        "AccessDenied",
        f"ssm:GetParametersByPath on arn:aws:ssm:eu-central-1:*:parameter{PATH}* and",
        "kms:Decrypt",
    )


def test_a_host_that_gives_no_answer(play: Play, url: str) -> None:
    done = play(url, **CREDENTIALS)
    refused(done, "app-1 gives no answer", "Connection refused", "ansible app-1 --become")
