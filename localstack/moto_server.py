"""moto on loopback, with cures for what it gets wrong: the second opinion beside MiniStack.

    python moto_server.py [--port N] [--ttl SECONDS]

Prints its address as the first line. Ends on SIGTERM or SIGINT, or when its parent is gone.

Cured here (moto 5.2.5):
* accepted conditional updates get lost between client processes: one lock a service around each request;
* Glue's UpdateTable ignores VersionId: ConcurrentModificationException when it is stale;
* TransactWriteItems ignores ClientRequestToken: answers are kept for ten minutes;
* rows never expire: `--ttl` sweeps every so many seconds;
* SQS has no StartMessageMoveTask, drops RedriveAllowPolicy, gives RedrivePolicy back with blanks;
* `?intelligent-tiering` on a bucket deletes or re-creates the bucket: configurations are kept apart;
* an event source mapping would call Docker at every message: mappings are kept, and feed nobody;
* HTTP/1.0 with a connection for each request: HTTP/1.1.
"""

import argparse
import collections
import hashlib
import io
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.parse
import uuid

ACCOUNT = "123456789012"
TOKEN_SECONDS = 600


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    arguments.add_argument("--ttl", type=float, default=0, help="seconds between sweeps of expired rows; 0 never sweeps")
    options = arguments.parse_args()

    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from process_guard import end_with_parent

    end_with_parent(None)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(256)
    # The socket listens already: a client that comes now waits until the server answers.
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    os.environ["MOTO_PORT"] = str(listener.getsockname()[1])
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: os._exit(0))
    serve(listener, options.ttl)


def serve(listener: socket.socket, ttl_seconds: float) -> None:
    """Serves the cured emulator on `listener` for good."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from moto.sqs import models as sqs_models
    from werkzeug.serving import make_server

    class Handler(MotoRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_request(self, *_):
            pass

    class FedNobody(dict):
        def items(self):
            return ()

    original = sqs_models.Queue.__init__

    def initialise(queue, *positional, **named):
        original(queue, *positional, **named)
        queue.lambda_event_source_mappings = FedNobody()

    sqs_models.Queue.__init__ = initialise

    application = Cured(DomainDispatcherApplication(create_backend_app))
    if ttl_seconds:
        threading.Thread(target=application.sweep, args=(ttl_seconds,), daemon=True).start()
    port = listener.getsockname()[1]
    make_server("127.0.0.1", port, application, threaded=True, request_handler=Handler, fd=listener.fileno()).serve_forever()


class Cured:
    """The WSGI application around moto's own."""

    def __init__(self, application):
        self.application = application
        self.locks = collections.defaultdict(threading.Lock)
        self.tiering: dict[str, dict[str, bytes]] = {}
        self.redrive_allow: dict[str, str] = {}
        self.moves: dict[str, list[dict]] = {}
        self.tokens: dict[str, tuple[float, str, tuple]] = {}

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, answer = self.answer(environ, body)
        # A HEAD says how long the object is, everything else how long its answer is.
        length = next((content for name, content in headers if name.lower() == "content-length"), "0")
        headers = [(name, content) for name, content in headers if name.lower() not in ("content-length", "transfer-encoding", "connection")]
        if not status.startswith(("204", "304")):
            headers.append(("Content-Length", length if environ["REQUEST_METHOD"] == "HEAD" else str(len(answer))))
        start_response(status, headers)
        return [answer]

    def answer(self, environ, body: bytes):
        service, region = signed_for(environ)
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if service == "s3" and (tiered := self.tiering_answer(environ, body)):
            return tiered
        if service == "sqs" and action == "ReceiveMessage":
            return self.receive(environ, body, region)
        with self.locks[service]:
            special = {
                ("glue", "UpdateTable"): self.update_table,
                ("dynamodb", "TransactWriteItems"): self.transact,
                ("sqs", "SetQueueAttributes"): self.set_attributes,
                ("sqs", "GetQueueAttributes"): self.get_attributes,
                ("sqs", "StartMessageMoveTask"): self.start_move,
                ("sqs", "ListMessageMoveTasks"): self.list_moves,
            }.get((service, action))
            return special(environ, body, region) if special else self.pass_on(environ, body)

    def pass_on(self, environ, body: bytes):
        """moto's own answer, whole."""
        environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        kept = {}

        def start(status, headers, _=None):
            kept["status"], kept["headers"] = status, headers

        parts = self.application(environ, start)
        try:
            answer = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return kept["status"], kept["headers"], answer

    # Glue

    def update_table(self, environ, body, region):
        from moto.glue.models import glue_backends

        request = json.loads(body)
        expected = request.get("VersionId")
        if expected is not None:
            try:
                table = glue_backends[ACCOUNT][region].get_table(request["DatabaseName"], request["TableInput"]["Name"])
            except Exception:  # moto says in its own words what is not there
                return self.pass_on(environ, body)
            if str(table._current_version) != str(expected):
                return refusal("ConcurrentModificationException", f"Update table failed due to concurrent modifications: version {expected} is stale")
        return self.pass_on(environ, body)

    # DynamoDB

    def transact(self, environ, body, _region):
        request = json.loads(body)
        token = request.pop("ClientRequestToken", None)
        if not token:
            return self.pass_on(environ, body)
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        now = time.monotonic()
        self.tokens = {name: kept for name, kept in self.tokens.items() if now - kept[0] < TOKEN_SECONDS}
        if token in self.tokens:
            _, first_digest, answer = self.tokens[token]
            if first_digest != digest:
                return refusal("IdempotentParameterMismatchException", "the request differs from the first one with this token")
            return answer
        answer = self.pass_on(environ, body)
        if answer[0].startswith("200"):
            self.tokens[token] = (now, digest, answer)
        return answer

    def sweep(self, seconds: float) -> None:
        """Removes expired rows, every so many seconds."""
        from moto.dynamodb.models import dynamodb_backends

        while True:
            time.sleep(seconds)
            with self.locks["dynamodb"]:
                for backend in dynamodb_backends[ACCOUNT].values():
                    for table in backend.tables.values():
                        expire(table, time.time())

    # SQS

    def receive(self, environ, body, region):
        """Long polls wait outside the lock, each look is inside it."""
        request = json.loads(body)
        wait = request.get("WaitTimeSeconds")
        if wait is None:
            queue = self.queue(request.get("QueueUrl", ""), region)
            wait = queue.receive_message_wait_time_seconds if queue else 0
        request["WaitTimeSeconds"] = 0
        deadline = time.monotonic() + int(wait)
        while True:
            with self.locks["sqs"]:
                answer = self.pass_on(environ, json.dumps(request).encode())
            if not answer[0].startswith("200") or b'"Messages": [{' in answer[2] or b'"Messages":[{' in answer[2] or time.monotonic() >= deadline:
                return answer
            time.sleep(0.1)

    def queue(self, url_or_arn: str, region: str):
        from moto.sqs.models import sqs_backends

        name = re.split("[/:]", url_or_arn)[-1]
        return sqs_backends[ACCOUNT][region].queues.get(name)

    def set_attributes(self, environ, body, region):
        request = json.loads(body)
        policy = request.get("Attributes", {}).pop("RedriveAllowPolicy", None)
        queue = self.queue(request.get("QueueUrl", ""), region)
        if policy is not None and queue:
            self.redrive_allow.pop(queue.queue_arn, None)
            if policy:
                self.redrive_allow[queue.queue_arn] = policy
            if not request["Attributes"]:
                return "200 OK", [("Content-Type", "application/x-amz-json-1.0")], b"{}"
        return self.pass_on(environ, json.dumps(request).encode())

    def get_attributes(self, environ, body, region):
        request = json.loads(body)
        # moto refuses the name of what it does not know.
        names = [name for name in request.get("AttributeNames", []) if name != "RedriveAllowPolicy"]
        only_that = bool(request.get("AttributeNames")) and not names
        status, headers, answer = self.pass_on(environ, json.dumps({**request, "AttributeNames": names or ["QueueArn"]}).encode())
        if not status.startswith("200"):
            return status, headers, answer
        attributes = json.loads(answer).get("Attributes") or {}
        if only_that:
            attributes = {}
        if "RedrivePolicy" in attributes:
            attributes["RedrivePolicy"] = json.dumps(json.loads(attributes["RedrivePolicy"]), separators=(",", ":"))
        queue = self.queue(request.get("QueueUrl", ""), region)
        wanted = set(request.get("AttributeNames", []))
        if queue and queue.queue_arn in self.redrive_allow and wanted & {"All", "RedriveAllowPolicy"}:
            attributes["RedriveAllowPolicy"] = self.redrive_allow[queue.queue_arn]
        return status, headers, json.dumps({"Attributes": attributes} if attributes else {}).encode()

    def start_move(self, _environ, body, region):
        from moto.sqs.models import sqs_backends

        request = json.loads(body)
        source = self.queue(request.get("SourceArn", ""), region)
        if source is None:
            return refusal("ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
        back = [queue for queue in sqs_backends[ACCOUNT][region].queues.values() if queue.dead_letter_queue is source]
        target = self.queue(request["DestinationArn"], region) if request.get("DestinationArn") else (back[0] if len(back) == 1 else None)
        if target is None:
            return refusal("InvalidParameterValue", "moto does not say where a message came from: name a DestinationArn")
        moved = list(source._messages)
        for message in moved:
            message.approximate_receive_count = 0
            message.visible_at = 0
            target.add_message(message)
        source._messages.clear()
        handle = uuid.uuid4().hex
        task = {
            "Status": "COMPLETED",
            "SourceArn": source.queue_arn,
            "DestinationArn": target.queue_arn,
            "ApproximateNumberOfMessagesMoved": len(moved),
            "ApproximateNumberOfMessagesToMove": len(moved),
            "StartedTimestamp": int(time.time() * 1000),
        }
        self.moves.setdefault(source.queue_arn, []).insert(0, task)
        return "200 OK", [("Content-Type", "application/x-amz-json-1.0")], json.dumps({"TaskHandle": handle}).encode()

    def list_moves(self, _environ, body, _region):
        request = json.loads(body)
        results = self.moves.get(request.get("SourceArn", ""), [])[: int(request.get("MaxResults", 1))]
        return "200 OK", [("Content-Type", "application/x-amz-json-1.0")], json.dumps({"Results": results}).encode()

    # S3

    def tiering_answer(self, environ, body):
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        if "intelligent-tiering" not in query or not bucket or key:
            return None
        method, name = environ["REQUEST_METHOD"], query.get("id", [""])[0]
        kept = self.tiering.setdefault(bucket, {})
        xml = [("Content-Type", "application/xml")]
        if method == "PUT":
            kept[name] = body
            return "200 OK", xml, b""
        if method == "DELETE":
            kept.pop(name, None)
            return "204 No Content", xml, b""
        if name:
            return ("200 OK", xml, kept[name]) if name in kept else ("404 Not Found", xml, b"<Error><Code>NoSuchConfiguration</Code></Error>")
        inner = b"".join(re.sub(rb"^\s*<\?xml[^>]*\?>", b"", kept[each]) for each in sorted(kept))
        outer = b"ListBucketIntelligentTieringConfigurationsOutput"
        return "200 OK", xml, b"<" + outer + b"><IsTruncated>false</IsTruncated>" + inner + b"</" + outer + b">"


def signed_for(environ) -> tuple[str, str]:
    """Service and region that a request is signed for; unsigned ones are taken for S3's."""
    found = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4", environ.get("HTTP_AUTHORIZATION", ""))
    return (found.group(2), found.group(1)) if found else ("s3", "us-east-1")


def refusal(code: str, text: str):
    """An error of AWS's JSON protocols."""
    answer = json.dumps({"__type": code, "message": text, "Message": text}).encode()
    return "400 Bad Request", [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-errortype", code)], answer


def expire(table, now: float) -> None:
    """Removes the rows of one table whose time to live has passed."""
    if table.ttl.get("TimeToLiveStatus") != "ENABLED":
        return
    attribute = table.ttl.get("AttributeName")

    def expired(item) -> bool:
        number = item.attrs.get(attribute)
        return number is not None and number.type == "N" and float(number.value) < now

    for hash_value in list(table.items):
        rows = table.items[hash_value]
        if not table.has_range_key:
            if expired(rows):
                del table.items[hash_value]
            continue
        for range_value in [each for each, item in rows.items() if expired(item)]:
            del rows[range_value]
        if not rows:
            del table.items[hash_value]


if __name__ == "__main__":
    main()
