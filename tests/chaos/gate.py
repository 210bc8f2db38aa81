"""A gate between one process and its emulator: it passes requests on, and strikes the process at the one that was drawn.

What it can do that a clock can't: kill a process between a write's effect and its answer, hold a write in the air until the lease it
was made under is long over, let a dead process's last write land.
"""

import http.client
import http.server
import threading
import time
import urllib.parse

import runtime_api
import strikes

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade", "proxy-connection"}


class Gate:
    """A server on loopback in front of `endpoint` for one worker's process; `process()` says which is it now."""

    def __init__(self, endpoint: str, plan: strikes.Plan, process):
        self.target = urllib.parse.urlsplit(endpoint)
        self.plan, self.process = plan, process
        self.dice = plan.dice()
        self.lock = threading.Lock()
        self.blow: strikes.Strike | None = None
        self.struck = None
        self.seen = 0
        self.server = runtime_api.Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _drawn(self, name: str):
        """The strike that falls at this request, with the process it falls on."""
        process = self.process()
        with self.lock:
            if self.plan.is_calm() or process is None:
                return None, process
            if self.struck is not process:
                # A new life: the next blow is drawn. One in eight lives is left alone.
                self.struck, self.seen = process, 0
                self.blow = strikes.at_a_request(self.dice) if self.dice.random() < 0.875 else None
            if self.blow is None or not name.startswith(self.blow.of):
                return None, process
            self.seen += 1
            if self.seen < self.blow.request:
                return None, process
            blow, self.seen = self.blow, 0
            # Who was only paused is struck again.
            self.blow = strikes.at_a_request(self.dice)
            self.plan.count(blow, name)
            return blow, process

    def _handler(gate):  # noqa: N805 - the handler's own `self` is another
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self.onward = None

            def log_message(self, *_):
                pass

            def _pass_on(self):
                body = self._body()
                name = self._name()
                blow, process = gate._drawn(name)
                if blow is None:
                    return self._answer(self._ask(body))
                if blow.when == "after":
                    answer = self._ask(body)
                    self._strike(process, blow)
                    return self._answer(answer)
                self._strike(process, blow)
                # `before`: the request is lost with the killed; `late`: it lands, whoever is left to hear of it.
                if blow.when == "late" or blow.how == "pause":
                    return self._answer(self._ask(body))
                self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

            def _strike(self, process, blow):
                finished = threading.Event()

                def run():
                    try:
                        strikes.strike(process, blow)
                    finally:
                        finished.set()

                gate.plan.run(run)
                finished.wait()

            def _name(self) -> str:
                target = self.headers.get("X-Amz-Target")
                if target:
                    return target.replace("DynamoDB_20120810", "DynamoDB").replace("AmazonSQS", "SQS")
                return f"S3.{self.command}"

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return body

            def _ask(self, body: bytes):
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP | {"content-length"}}
                headers["Content-Length"] = str(len(body))
                for attempt in range(3):
                    if self.onward is None:
                        self.onward = http.client.HTTPConnection(gate.target.hostname, gate.target.port, timeout=60)
                    try:
                        self.onward.request(self.command, self.path, body=body, headers=headers)
                        answer = self.onward.getresponse()
                        return answer, answer.read()
                    except http.client.RemoteDisconnected:
                        # The emulator had closed a connection that lay idle: the request was not read.
                        self.onward.close()
                        self.onward = None
                        time.sleep(0.05 * attempt)
                raise ConnectionError("the emulator does not answer")

            def _answer(self, answered):
                answer, body = answered
                try:
                    self.send_response_only(answer.status, answer.reason)
                    length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
                    for name, value in answer.getheaders():
                        if name.lower() not in HOP_BY_HOP | {"content-length"}:
                            self.send_header(name, value)
                    if length is not None:
                        self.send_header("Content-Length", length)
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body)
                except OSError:
                    # Nobody is left to hear it.
                    self.close_connection = True

        return Handler
