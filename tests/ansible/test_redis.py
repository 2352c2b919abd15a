"""The rendered configuration of Redis: who may do what, and how a queue is kept."""

from hashlib import sha256

from tests.ansible.rendering import PASSWORDS, Deployment


def settings(deployment: Deployment) -> dict[str, str]:
    """redis.conf's directives."""
    lines = deployment.files["./config/redis/redis.conf"].splitlines()
    return {
        line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines if line and not line.startswith("#")
    }


def test_the_application_may_work_and_not_administer(first: Deployment) -> None:
    password = sha256(PASSWORDS["redis/password"].encode()).hexdigest()
    assert first.secret_files["./config/redis/users.acl"]["content"].splitlines() == [
        "user default off",
        f"user app on sanitize-payload #{password} ~* &* +@all -@admin -@dangerous -@scripting"
        " +evalsha +script|load +script|exists",
    ]


def test_no_password_stands_in_plain(first: Deployment) -> None:
    for path in ("./config/redis/redis.conf", "./config/redis/users.acl"):
        content = first.files.get(path) or first.secret_files[path]["content"]
        assert PASSWORDS["redis/password"] not in content
    assert not {"requirepass", "masterauth", "user"} & set(settings(first))


def test_users_come_from_the_mounted_file(first: Deployment) -> None:
    assert settings(first)["aclfile"] == "/etc/steadfast/users.acl"
    assert "./config/redis:/etc/steadfast:ro" in first.services["redis"]["volumes"]
    # `protected-mode no` is safe because the one user without a password is off.
    assert first.secret_files["./config/redis/users.acl"]["content"].startswith("user default off\n")


def test_a_full_queue_refuses_instead_of_dropping(first: Deployment) -> None:
    assert settings(first)["maxmemory-policy"] == "noeviction"
    limit = int(settings(first)["maxmemory"].removesuffix("mb"))
    # Rewriting the append-only file forks, and the copy needs room as well.
    assert limit * 1.4 < int(first.services["redis"]["mem_limit"].removesuffix("m"))


def test_the_queue_survives_a_restart(first: Deployment) -> None:
    assert settings(first)["appendonly"] == "yes"
    assert settings(first)["appendfsync"] == "everysec"
    directory = settings(first)["dir"]
    assert f"redis-data:{directory}" in first.services["redis"]["volumes"]
    assert "redis-data" in first.compose["volumes"]
