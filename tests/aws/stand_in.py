"""A stand-in for what moto never says: a proxy before it that answers one call with AWS's documented error.

It serves services of the query protocol (EC2, STS, IAM, RDS), whose requests name their action in the body.
"""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# As the references of EC2 and STS have them: status and body.
ERRORS = {
    "VpcLimitExceeded": (400, "The maximum number of VPCs has been reached."),
    "AddressLimitExceeded": (400, "The maximum number of addresses has been reached."),
    "ExpiredToken": (403, "The security token included in the request is expired"),
    "InvalidClientTokenId": (403, "The security token included in the request is invalid."),
}


def body(code: str, message: str, service: str) -> str:
    """An error in the form of the service."""
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    if service == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>stand-in</RequestID></Response>"
    error = f"<Error><Type>Sender</Type>{error}</Error>"
    return f"<ErrorResponse>{error}<RequestId>stand-in</RequestId></ErrorResponse>"


@contextmanager
def refusing(port: int, action: str, code: str) -> Iterator[str]:
    """The address of a proxy to moto's port at which `action` is refused with `code`."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service = re.search(
                r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", self.headers.get("Authorization") or ""
            )
            if re.search(rb"(^|&)Action=" + action.encode() + rb"(&|$)", sent):
                status, message = ERRORS[code]
                self.answer(
                    status,
                    {"Content-Type": "text/xml"},
                    body(code, message, service[1] if service else "").encode(),
                )
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request(self.command, self.path, sent, dict(self.headers))
            told = connection.getresponse()
            self.answer(told.status, dict(told.headers), told.read())
            connection.close()

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in (
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = forward

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
