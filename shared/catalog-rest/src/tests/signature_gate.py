"""A gate before an emulator that does not look at signatures: it refuses every request whose signature is not the one that
botocore makes for it, and passes the others on.

    python signature_gate.py TARGET SERVICE KEY SECRET

Prints its address as the first line, and ends with its standard input.
"""

import hashlib
import http.client
import http.server
import sys
import threading
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TARGET, SERVICE, KEY, SECRET = sys.argv[1:]


def why_not(method, path, headers, body):
    """What is wrong with a request; None where its signature is right."""
    authorization = headers.get("authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return "not signed"
    parts = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
    key, date, region, service, end = parts["Credential"].split("/")
    signed = parts["SignedHeaders"].split(";")
    if (key, service, end) != (KEY, SERVICE, "aws4_request"):
        return f"signed for {parts['Credential']}"
    if not {"host", "x-amz-date"} <= set(signed):
        return f"signed headers are {signed}"
    if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
        return "another body"
    time = headers["x-amz-date"]
    if time[:8] != date:
        return "two dates"
    request = AWSRequest(method, f"http://{headers['host']}{path}", data=body)
    for name in signed:
        request.headers[name] = headers[name]
    request.context["timestamp"] = time
    signer = SigV4Auth(Credentials(KEY, SECRET), service, region)
    canonical = signer.canonical_request(request)
    right = signer.signature(signer.string_to_sign(request, canonical), request)
    return None if right == parts["Signature"] else f"expected {right} for {canonical!r}"


class Gate(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        wrong = why_not(self.command, self.path, headers, body)
        if wrong:
            self.answer(403, "application/json", ('{"message": "InvalidSignatureException"}').encode())
            print("refused:", self.command, self.path, wrong, file=sys.stderr, flush=True)
            return
        target = urllib.parse.urlsplit(TARGET)
        connection = http.client.HTTPConnection(target.hostname, target.port)
        passed = {name: value for name, value in headers.items() if name not in ("host", "connection", "content-length")}
        connection.request(self.command, self.path, body or None, passed)
        response = connection.getresponse()
        self.answer(response.status, response.headers.get("content-type", ""), response.read())

    do_GET = do_POST = do_HEAD = handle_request

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
