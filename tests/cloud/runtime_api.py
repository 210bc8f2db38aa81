"""Runs a function's real binary as Lambda does: a small server of Lambda's Runtime API, and the process behind it.

One invocation at a time, as in one execution environment of Lambda. The deadline handed to the function is absolute, in
milliseconds since 1970, and enforced: a function that is still at work then is killed, as Lambda kills it.
"""

import http.server
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid

PREFIX = "/2018-06-01/runtime"


class Server(http.server.ThreadingHTTPServer):
    """Threads that end with the process, and no word about connections that the killed leave behind."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class FunctionError(Exception):
    """The function answered with an error, ended, or ran out of time; `kind` is Lambda's error type."""

    def __init__(self, kind: str, text: str):
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Function:
    """One execution environment: start, `invoke` as often as wanted, `end`."""

    def __init__(self, name: str, binary: pathlib.Path, environment: dict[str, str], timeout_seconds: float, log: pathlib.Path):
        self.name, self.binary, self.timeout_seconds, self.log = name, binary, timeout_seconds, log
        self.environment = environment
        self.waiting: queue.Queue = queue.Queue()
        self.answers: queue.Queue = queue.Queue()
        self.current: str | None = None
        self.process: subprocess.Popen | None = None
        self.server = Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def start(self) -> None:
        """Starts the binary; `invoke` does that by itself when none runs."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        lambda_own = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": uuid.uuid4().hex,
            "_HANDLER": "bootstrap",
        }
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [str(self.binary)], env={**kept, **lambda_own, **self.environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def invoke(self, event: dict, timeout_seconds: float | None = None):
        """Hands the function one event; returns its answer or raises FunctionError."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        seconds = timeout_seconds or self.timeout_seconds
        deadline = time.time() + seconds
        request = uuid.uuid4().hex
        self.current = request
        self.waiting.put((request, event, int(deadline * 1000)))
        while True:
            try:
                answered, error, body = self.answers.get(timeout=0.1)
            except queue.Empty:
                if self.process.poll() is not None:
                    self._forget()
                    raise FunctionError("Runtime.ExitError", f"{self.name} ended with {self.process.returncode}; see {self.log}") from None
                if time.time() > deadline:
                    self.kill()
                    raise FunctionError("Sandbox.Timedout", f"{self.name} was at work after {seconds} s; see {self.log}") from None
                continue
            if answered != request:
                continue
            self.current = None
            if error:
                raise FunctionError(str(body.get("errorType")), str(body.get("errorMessage")))
            return body

    def kill(self) -> None:
        """SIGKILL, as Lambda does at the deadline and tests do at any moment."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._forget()

    def end(self) -> None:
        """Ends the process and the server."""
        self.kill()
        self.server.shutdown()
        self.server.server_close()

    def _forget(self) -> None:
        self.current = None
        while not self.waiting.empty():
            self.waiting.get_nowait()

    def _handler(function):  # noqa: N805 - the handler's own `self` is another
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path != f"{PREFIX}/invocation/next":
                    return self._reply(404, b"{}")
                asking = function.process.pid if function.process else None
                while True:
                    try:
                        request, event, deadline = function.waiting.get(timeout=0.2)
                        break
                    except queue.Empty:
                        # The process that asked is gone: its successor's question must get the next event.
                        if function.process is None or function.process.pid != asking or function.process.poll() is not None:
                            self.close_connection = True
                            return None
                return self._reply(
                    200,
                    json.dumps(event).encode(),
                    {
                        "Lambda-Runtime-Aws-Request-Id": request,
                        "Lambda-Runtime-Deadline-Ms": str(deadline),
                        "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:123456789012:function:{function.name}",
                        "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
                    },
                )

            def do_POST(self):
                body = self._body()
                if self.path == f"{PREFIX}/init/error":
                    function.answers.put((function.current, True, json.loads(body)))
                    return self._reply(202, b"{}")
                _, _, rest = self.path.partition(f"{PREFIX}/invocation/")
                request, _, kind = rest.partition("/")
                if request != function.current or kind not in ("response", "error"):
                    return self._reply(400, b'{"errorType":"InvalidRequestID"}')
                function.answers.put((request, kind == "error", json.loads(body) if body else None))
                return self._reply(202, b"{}")

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _reply(self, status: int, body: bytes, headers: dict | None = None) -> None:
                self.send_response(status)
                for name, content in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, content)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def scheduled_event() -> dict:
    """What EventBridge Scheduler hands to a function when its target names no input; `detail` is a string there."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/icepress/icepress"],
        "detail": "{}",
    }


class Mapping:
    """What Lambda's event source mapping does for one queue: batch size 1, partial batch responses honoured.

    To try the same in less time, `timeout_seconds` stands in for the function's, `retry_crashed` and `retry_refused` for what is left
    of a message's visibility timeout after the function died, and after it reported the message as failed.
    """

    def __init__(
        self,
        sqs,
        queue_url: str,
        function: Function,
        timeout_seconds: float | None = None,
        retry_crashed: int | None = None,
        retry_refused: int | None = None,
    ):
        self.sqs, self.queue_url, self.function = sqs, queue_url, function
        self.timeout_seconds, self.retry_crashed, self.retry_refused = timeout_seconds, retry_crashed, retry_refused
        self.arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.handled = 0
        self.refused: list[str] = []
        # What came of each receive: the message's body, and `done`, `not done` or the error.
        self.endings: list[tuple[str, str]] = []

    def poll(self, wait_seconds: int = 1) -> bool:
        """Takes one message and hands it on; a failed one stays in the queue until it is visible again. False: there was none."""
        received = self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not received:
            return False
        message = received[0]
        event = {
            "Records": [
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": message.get("Attributes", {}),
                    "messageAttributes": {},
                    "md5OfBody": message["MD5OfBody"],
                    "eventSource": "aws:sqs",
                    "eventSourceARN": self.arn,
                    "awsRegion": "us-east-1",
                }
            ]
        }
        try:
            answer = self.function.invoke(event, self.timeout_seconds) or {}
            failed = {failure["itemIdentifier"] for failure in answer.get("batchItemFailures", [])}
            refusal, rest = (message["MessageId"] if message["MessageId"] in failed else None), self.retry_refused
        except FunctionError as error:
            refusal, rest = str(error), self.retry_crashed
        if refusal is not None:
            self.refused.append(refusal)
            self.endings.append((message["Body"], "not done" if refusal == message["MessageId"] else refusal))
            if rest is not None:
                handle = message["ReceiptHandle"]
                self.sqs.change_message_visibility(QueueUrl=self.queue_url, ReceiptHandle=handle, VisibilityTimeout=rest)
            return True
        self.endings.append((message["Body"], "done"))
        self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        self.handled += 1
        return True
