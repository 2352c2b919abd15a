"""The rendered nginx configuration, questioned as data."""

import json
import re
from typing import NamedTuple

import pytest

from app import errors
from app.api import tasks
from tests.ansible.conftest import Deploy
from tests.ansible.nginx_syntax import Directive, parse, walk
from tests.ansible.rendering import PASSWORDS, Deployment

API, HEALTH, FLOWER = "8000", "8501", "5555"
# The page's own port is one of these; with TLS the first leads to the second.
PLAIN, TLS = "8080", "8443"
FILES = ("nginx", "errors", "tasks")


class Front(NamedTuple):
    """nginx.conf, errors.conf and tasks.conf of one deployment."""

    deployment: Deployment
    main: list[Directive]
    errors: list[Directive]
    tasks: list[Directive]

    @property
    def has_tls(self) -> bool:
        """Whether there is, or will be, a certificate."""
        return bool(self.deployment.value("{{ __app_stack_tls }}"))

    @property
    def page(self) -> str:
        """The port of the page."""
        return TLS if self.has_tls else PLAIN

    def all(self, name: str) -> list[Directive]:
        """Every directive of that name in all files."""
        return [d for d in walk(self.main + self.errors + self.tasks) if d.name == name]

    def server(self, port: str) -> list[Directive]:
        """The block of the server that listens on a port."""
        found = [d.block for d in self.all("server") if ["listen", port] in [e.words[:2] for e in d.block]]
        assert len(found) == 1, f"port {port}"
        return found[0]

    def locations(self, port: str) -> dict[str, list[Directive]]:
        """What a location of that server is matched by -> its block."""
        server = self.server(port)
        if ["include", "/etc/steadfast/tasks.conf"] in [d.words for d in server]:
            server = server + self.tasks
        return {" ".join(d.arguments): d.block for d in server if d.name == "location"}


@pytest.fixture
def front(first: Deployment) -> Front:
    """The files of each inventory's first deployment."""
    return Front(first, *(parse(first.files[f"./config/nginx/{name}.conf"]) for name in FILES))


def test_each_published_port_has_its_server(front: Front) -> None:
    published = {port.split(":")[1] for port in front.deployment.services["nginx"]["ports"]}
    servers = [d for d in front.all("server") if d.block]
    expected = {front.page, API, HEALTH, FLOWER} | ({PLAIN} if front.has_tls else set())
    assert {d.arguments[0] for d in front.all("listen")} == published == expected
    assert len(servers) == len(published)


@pytest.mark.parametrize("name", ["add_header", "proxy_set_header"])
def test_headers_are_set_once_for_all(front: Front, name: str) -> None:
    # One of these further in would switch all the outer ones off there.
    assert front.all(name)
    assert {d.within for d in front.all(name)} == {("http",)}


def test_every_answer_carries_the_protecting_headers(front: Front) -> None:
    headers = {d.arguments[0]: d.arguments[1:] for d in front.all("add_header")}
    assert headers["X-Content-Type-Options"] == ["nosniff", "always"]
    assert headers["Referrer-Policy"] == ["no-referrer", "always"]
    assert headers["Content-Security-Policy"] == ["$content_security_policy", "always"]
    assert headers["Retry-After"] == ["$retry_after", "always"]
    assert [d.arguments for d in front.all("server_tokens")] == [["off"]]


def test_only_flower_may_use_inline_scripts(front: Front) -> None:
    policies = {
        d.name: d.arguments[0]
        for m in front.all("map")
        if m.arguments[1] == "$content_security_policy"
        for d in m.block
    }
    assert set(policies) == {FLOWER, "default"}
    assert "unsafe" not in policies["default"]
    assert "default-src 'none'" in policies["default"]
    for policy in policies.values():
        assert "frame-ancestors 'none'" in policy
        assert "http:" not in policy
        assert "*" not in policy


def test_a_post_is_never_sent_a_second_time(front: Front) -> None:
    assert [(d.arguments, d.within) for d in front.all("proxy_next_upstream")] == [(["off"], ("http",))]


def test_a_client_cannot_claim_an_address(front: Front) -> None:
    headers = {d.arguments[0]: d.arguments[1] for d in front.all("proxy_set_header")}
    assert headers["X-Forwarded-For"] == "$remote_addr"
    assert not front.all("set_real_ip_from")
    for name in FILES:
        assert "proxy_add_x_forwarded_for" not in front.deployment.files[f"./config/nginx/{name}.conf"]
    assert all("http_x_" not in word.lower() for d in front.all("limit_req_zone") for word in d.words)


def test_the_api_is_reached_by_the_socket_that_a_release_renames(front: Front) -> None:
    upstreams = {
        d.arguments[0]: [e.arguments for e in d.block if e.name == "server"] for d in front.all("upstream")
    }
    assert upstreams == {
        "api": [["unix:/run/app/live.sock"]],
        "flower": [["unix:/run/app/flower/flower.sock"]],
    }
    targets = {d.arguments[0] for d in front.all("proxy_pass")}
    assert targets == {"http://api", "http://api/health", "http://api/health/ready", "http://flower"}


CLOSED = [["return", "404"]]
OPERATORS = "~ ^/tasks(/[a-z]+)?$"


def test_each_port_leads_where_it_should_and_nowhere_else(front: Front) -> None:
    wanted = {
        front.page: {"= /", "= /notify/", "/task_status/"},
        API: {"= /notify/", "/task_status/", "= /openapi.json", OPERATORS},
        HEALTH: {"= /", "= /ready", "= /metrics"},
    }
    for port, locations in wanted.items():
        assert [d.words for d in front.locations(port)["/"]] == CLOSED, port
        found = {
            match for match, block in front.locations(port).items() if [d.words for d in block] != CLOSED
        }
        assert {match for match in found if not match.startswith("~ ^/assets/")} == locations, port
        assert "flower" not in str(front.server(port)), port


def test_nobody_is_led_from_an_address_to_the_one_with_a_slash(front: Front) -> None:
    # nginx redirects there by itself, and a client makes a GET of its POST on the way.
    for port in (front.page, API):
        locations = front.locations(port)
        for path in [match.removeprefix("= ") for match in locations if re.match(r"(= )?/\w+/$", match)]:
            assert [d.words for d in locations.get(f"= {path.rstrip('/')}", [])] == CLOSED, f"{port}{path}"


def test_every_way_to_submit_is_limited(front: Front) -> None:
    limit = front.deployment.value("{{ app_stack_client_posts_per_minute }}")
    wanted = ["limit_req", "zone=posts", f"burst={limit}", "nodelay"]
    for port in (front.page, API):
        assert wanted in [d.words for d in front.locations(port)["= /notify/"]], port
    zones = {d.arguments[1].split(":")[0]: d.arguments for d in front.all("limit_req_zone")}
    assert f"rate={limit}r/m" in zones["zone=posts"]
    assert ["limit_req", "zone=flower"] in [d.words[:2] for d in front.locations(FLOWER)["/"]]
    assert [d.arguments for d in front.all("limit_req_status")] == [["429"]]


def test_operators_have_their_paths_on_the_ports_that_are_not_the_worlds(front: Front) -> None:
    for port in (front.page, API, HEALTH, FLOWER):
        assert (OPERATORS in front.locations(port)) == (port == API), port
    assert "tasks" not in " ".join(front.locations(front.page)).replace("task_status", "")
    block = [d.words for d in front.locations(API)[OPERATORS]]
    assert ["proxy_pass", "http://api"] in block
    assert ["limit_req", "zone=operators", "burst=20", "nodelay"] in block, "guessing the token is slow"
    # The API alone says what may be kept, and it says: nothing.
    assert not [d for d in walk(front.main + front.tasks) if d.name.startswith("proxy_cache")]


def test_every_path_of_operators_is_led_to_and_no_other(front: Front) -> None:
    pattern = re.compile(OPERATORS.removeprefix("~ "))
    paths = {route.path for route in tasks.router.routes}  # type: ignore[attr-defined]
    assert {"/tasks", "/tasks/counts", "/tasks/cancel", "/tasks/retry", "/tasks/replay"} == paths
    for path in paths:
        assert pattern.search(path), path
    for path in ("/tasks/", "/tasks/a/b", "/tasksx", "/x/tasks", "/tasks/..", "/task_status/tasks"):
        assert not pattern.search(path), path


def test_a_token_reaches_the_api_by_that_port_alone(front: Front) -> None:
    headers = {d.arguments[0]: d.arguments[1] for d in front.all("proxy_set_header")}
    assert headers["Authorization"] == "$authorization"
    (values,) = (d for d in front.all("map") if d.arguments[1] == "$authorization")
    assert values.arguments[0] == "$server_port"
    assert {d.name: d.arguments for d in values.block} == {API: ["$http_authorization"], "default": [""]}


@pytest.mark.parametrize("posts_per_minute", [1, 7, 60, 600000])
def test_a_refused_client_is_told_how_long_to_wait(deploy: Deploy, posts_per_minute: int) -> None:
    main = parse(
        deploy(app_stack_client_posts_per_minute=posts_per_minute).files["./config/nginx/nginx.conf"]
    )
    (values,) = (d.block for d in walk(main) if d.name == "map" and d.arguments[1] == "$retry_after")
    wait_seconds = {d.name: d.arguments[0] for d in values}
    assert int(wait_seconds["429:"]) >= 60 / posts_per_minute
    assert int(wait_seconds["429:"]) >= 1
    assert int(wait_seconds["503:"]) >= 1
    # What the API says itself is passed on as it is, with nothing beside it.
    assert set(wait_seconds) == {"429:", "503:", "default"}
    assert wait_seconds["default"] == ""


def test_bodies_and_slow_clients_are_bounded(front: Front) -> None:
    bound = front.deployment.value("{{ app_stack_request_body_max_bytes }}")
    assert [d.arguments for d in front.all("client_max_body_size")] == [[str(bound)]]
    for name in ("client_header_timeout", "client_body_timeout", "send_timeout", "proxy_read_timeout"):
        assert [d.within for d in front.all(name)] == [("http",)], name


def test_flower_asks_for_the_password_on_every_path(front: Front) -> None:
    server = front.server(FLOWER)
    own = {d.name: d.arguments for d in server if not d.block}
    assert own["auth_basic"] != ["off"]
    target = [
        target
        for source, target, *_ in (v.split(":") for v in front.deployment.services["nginx"]["volumes"])
        if "secrets" in source
    ]
    assert own["auth_basic_user_file"] == [f"{target[0]}/flower.htpasswd"]
    assert {d.within[:2] for d in front.all("auth_basic")} == {("http", "server")}
    assert all(d.within == ("http", "server") for d in front.all("auth_basic")), (
        "none is switched off further in"
    )
    assert not front.all("satisfy")


def test_the_password_of_flower_is_kept_as_a_slow_hash(first: Deployment) -> None:
    content = first.secret_files["./secrets/nginx/flower.htpasswd"]["content"]
    assert re.fullmatch(r"operator:\$6\$[A-Za-z0-9./]{16}\$[A-Za-z0-9./]{86}\n", content)
    assert PASSWORDS["flower/password"] not in content


def test_errors_are_the_same_everywhere_that_the_api_answers(front: Front) -> None:
    for port in (front.page, API, HEALTH):
        assert ["include", "/etc/steadfast/errors.conf"] in [d.words for d in front.server(port)], port
    # The API's own answers, with their own bodies, pass.
    assert not front.all("proxy_intercept_errors")


def bodies(front: Front) -> dict[str, tuple[int, dict[str, str]]]:
    """What an error page leads to -> the status and the JSON body that it answers with."""
    found = {}
    for location in (d for d in front.errors if d.name == "location"):
        name = location.arguments[-1]
        words = [d.words for d in location.block]
        assert ["default_type", "application/json"] in words, name
        assert name.startswith("@") or ["internal"] in words, f"{name}: nobody may ask for it"
        (answer,) = (d.arguments for d in location.block if d.name == "return")
        found[name] = (int(answer[0]), json.loads(answer[1].removesuffix("\\n")))
    return found


def test_every_error_page_has_a_body(front: Front) -> None:
    pages = [d.arguments for d in front.errors if d.name == "error_page"]
    assert {page[-1] for page in pages} == set(bodies(front))
    statuses = {status for page in pages for status in page[:-1] if status[0] != "="}
    assert {"400", "404", "405", "408", "413", "429", "502", "503", "504"} <= statuses


def test_what_nginx_refuses_looks_like_an_error_of_the_api(front: Front) -> None:
    for location, (status, body) in bodies(front).items():
        assert list(body) == ["error", "message"], location
        assert location in (f"@{body['error']}", f"/.error/{body['error']}")
        assert body["message"].endswith("."), location
        name = "".join(word.capitalize() for word in body["error"].split("_"))
        assert hasattr(errors, name), (
            f"app/errors.py has no {name}, so a reader cannot find `{body['error']}`"
        )
        error = getattr(errors, name)
        assert error.status == status, location
        assert error().name == body["error"]
