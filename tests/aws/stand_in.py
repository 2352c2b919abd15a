"""A stand-in for what moto never says: a proxy before it that answers one call with AWS's documented error.

It knows the calls of the query protocol (EC2, STS, IAM, RDS), which name their action in the body, and S3's
look whether a bucket is there.
"""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

# As the references of EC2, STS and S3 have them: status and words. A look (HEAD) gets no words.
ERRORS = {
    "VpcLimitExceeded": (400, "The maximum number of VPCs has been reached."),
    "AddressLimitExceeded": (400, "The maximum number of addresses has been reached."),
    "ExpiredToken": (403, "The security token included in the request is expired"),
    "InvalidClientTokenId": (403, "The security token included in the request is invalid."),
    "Forbidden": (403, ""),
}
# These are said anew for each way that the answer takes.
OF_THE_CONNECTION = {"content-length", "transfer-encoding", "connection", "date", "server"}


def body(code: str, words: str, service: str) -> bytes:
    """An error in the form of the service."""
    error = f"<Code>{code}</Code><Message>{words}</Message>"
    if service == "ec2":
        told = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>stand-in</RequestID></Response>"
    else:
        error = f"<Error><Type>Sender</Type>{error}</Error>"
        told = f"<ErrorResponse>{error}<RequestId>stand-in</RequestId></ErrorResponse>"
    return told.encode()


class Refusing(BaseHTTPRequestHandler):
    """Passes on all but one action; `refusing` makes one of these for each case."""

    netloc: str
    action: str
    code: str

    def refuse_or_forward(self) -> None:
        """Answers a request."""
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.is_refused(sent):
            status, words = ERRORS[self.code]
            self.answer(status, {"Content-Type": "text/xml"}, body(self.code, words, self.service))
            return
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        connection.request(self.command, self.path, sent, dict(self.headers))
        told = connection.getresponse()
        self.answer(told.status, dict(told.headers), told.read())
        connection.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = refuse_or_forward

    @property
    def service(self) -> str:
        """Whom the request is signed for."""
        signed = self.headers.get("Authorization") or ""
        found = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", signed)
        return found[1] if found else ""

    def is_refused(self, sent: bytes) -> bool:
        """Whether it is the action."""
        if self.action == "HeadBucket":
            return self.command == "HEAD" and self.service == "s3"
        return f"Action={self.action}".encode() in sent.split(b"&")

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        """Writes an answer."""
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in OF_THE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def refusing(url: str, action: str, code: str) -> Iterator[str]:
    """The address of a proxy to moto at which `action` is refused with `code`."""
    case = {"netloc": urlparse(url).netloc, "action": action, "code": code}
    handler = type("Handler", (Refusing,), case)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
