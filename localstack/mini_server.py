"""MiniStack on loopback, with cures for what it gets wrong.

    python mini_server.py [--port N] [--no-auth]

Prints its address as the first line, then logs to stderr. Ends on SIGTERM or SIGINT, or when its parent is gone, and takes the
functions it started with it. IAM is enforced unless `--no-auth` is given: the functions get sessions of their roles, and what a
role's policy does not allow is refused, as on AWS. The root caller's key is the account number, its secret `test`.

Cured here (MiniStack 1.5.33):
* plain, it binds every interface;
* `?intelligent-tiering` on a bucket deletes or re-creates the *bucket*: configurations are kept apart;
* DescribeAlarms in the query protocol gives fragments of alarms: whole alarms;
* SQS has no StartMessageMoveTask, ListMessageMoveTasks: both are there;
* SQS's batch calls ask for permissions of their own, which AWS does not have: SendMessage allows SendMessageBatch.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
import urllib.parse
import uuid
from xml.sax.saxutils import escape

ACCOUNT = "123456789012"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    arguments.add_argument("--no-auth", action="store_true", help="do not enforce IAM")
    options = arguments.parse_args()

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(256)
    port = listener.getsockname()[1]
    small_environment(port, enforce_iam=not options.no_auth)

    from process_guard import end_descendants, end_with_parent

    end_with_parent(None)
    # The socket listens already: a client that comes now waits until the server answers.
    print(f"http://127.0.0.1:{port}", flush=True)
    try:
        asyncio.run(serve(listener))
    finally:
        end_descendants()
    # Threads that poll queues never end by themselves.
    os._exit(0)


def small_environment(port: int, enforce_iam: bool) -> None:
    """Functions inherit the server's whole environment, so it holds nothing but what they may see."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "RUST_BACKTRACE") if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AUTH": "true" if enforce_iam else "false",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # A client must not wait on Docker, whether there is one or not.
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "LOG_LEVEL": "INFO",
        }
    )


async def serve(listener: socket.socket) -> None:
    """Serves the cured emulator on `listener` until SIGTERM or SIGINT."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack.app import app

    whole_alarms()
    message_moves()
    batch_permissions()

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"

    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await hypercorn_serve(TieringConfigurations(app), config, shutdown_trigger=stop.wait)


class TieringConfigurations:
    """Answers `?intelligent-tiering` on path-style bucket addresses; everything else goes to the emulator."""

    def __init__(self, app):
        self.app = app
        self.kept: dict[str, dict[str, bytes]] = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        query = urllib.parse.parse_qs(scope.get("query_string", b"").decode(), keep_blank_values=True)
        bucket, _, key = scope["path"].lstrip("/").partition("/")
        if "intelligent-tiering" in query and bucket and not key:
            return await self.answer(scope["method"], bucket, query.get("id", [""])[0], receive, send)
        if scope["method"] == "DELETE" and bucket and not key and not query:
            self.kept.pop(bucket, None)
        return await self.app(scope, receive, send)

    async def answer(self, method, bucket, name, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        configurations = self.kept.setdefault(bucket, {})
        status, answer = 200, b""
        if method == "PUT":
            configurations[name] = body
        elif method == "DELETE":
            configurations.pop(name, None)
            status = 204
        elif name:
            answer = configurations.get(name, b"<Error><Code>NoSuchConfiguration</Code></Error>")
            status = 200 if name in configurations else 404
        else:
            inner = b"".join(strip_declaration(configurations[each]) for each in sorted(configurations))
            answer = (
                b"<ListBucketIntelligentTieringConfigurationsOutput><IsTruncated>false</IsTruncated>"
                + inner
                + b"</ListBucketIntelligentTieringConfigurationsOutput>"
            )
        headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def strip_declaration(document: bytes) -> bytes:
    """An XML document without its first `<?xml … ?>`."""
    return document.split(b"?>", 1)[1] if document.lstrip().startswith(b"<?xml") else document


def whole_alarms() -> None:
    """DescribeAlarms by the query protocol answers with every member, made from what the JSON protocol answers."""
    from ministack.services import cloudwatch

    original = cloudwatch._describe_alarms
    single = {"AlarmNamePrefix", "StateValue", "NextToken", "MaxRecords"}

    def value(params, name):
        found = params.get(name)
        return found[0] if isinstance(found, list) and found else found

    def describe(params, cbor_data, is_cbor, is_json=False):
        if is_cbor or is_json:
            return original(params, cbor_data, is_cbor, is_json)
        request = {name: value(params, name) for name in single if value(params, name)}
        for many in ("AlarmNames", "AlarmTypes"):
            members = [value(params, f"{many}.member.{i}") for i in range(1, 101)]
            if any(members):
                request[many] = [member for member in members if member]
        status, _, body = original({}, request, False, True)
        answer = json.loads(body)
        if status != 200:
            return original(params, cbor_data, is_cbor, is_json)
        inner = "".join(element(name, content) for name, content in answer.items())
        return cloudwatch._xml(200, "DescribeAlarmsResponse", f"<DescribeAlarmsResult>{inner}</DescribeAlarmsResult>")

    cloudwatch._describe_alarms = describe


def element(name: str, content) -> str:
    """One XML element of AWS's query protocol; nothing for None."""
    if content is None:
        return ""
    if isinstance(content, list):
        inner = "".join(element("member", each) for each in content)
    elif isinstance(content, dict):
        inner = "".join(element(each, inside) for each, inside in content.items())
    elif isinstance(content, bool):
        inner = str(content).lower()
    elif name.endswith("Timestamp"):
        inner = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(content))
    else:
        inner = escape(str(content))
    return f"<{name}>{inner}</{name}>"


def message_moves() -> None:
    """StartMessageMoveTask: every message of a dead-letter queue goes to the destination, or back where it came from."""
    from ministack.core.concurrency import esm_wake
    from ministack.services import sqs

    tasks: dict[str, list[dict]] = {}

    def start(data, _url):
        source_arn = data.get("SourceArn", "")
        source = sqs._queue_by_arn(source_arn)
        if source is None:
            raise sqs._Err("ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
        moved, kept = 0, []
        for message in source["messages"]:
            target = sqs._queue_by_arn(data.get("DestinationArn") or message.get("sys", {}).get("DeadLetterQueueSourceArn", ""))
            if target is None:
                kept.append(message)
                continue
            system = {name: content for name, content in message.get("sys", {}).items() if name != "DeadLetterQueueSourceArn"}
            target["messages"].append(
                {**message, "sys": system, "receipt_handle": None, "receive_count": 0, "first_receive_at": None, "visible_at": time.time()}
            )
            moved += 1
        source["messages"] = kept
        esm_wake.set()
        handle = uuid.uuid4().hex
        task = {
            "TaskHandle": handle,
            "Status": "COMPLETED",
            "SourceArn": source_arn,
            "ApproximateNumberOfMessagesMoved": moved,
            "ApproximateNumberOfMessagesToMove": moved,
            "StartedTimestamp": int(time.time() * 1000),
        }
        if data.get("DestinationArn"):
            task["DestinationArn"] = data["DestinationArn"]
        tasks.setdefault(source_arn, []).insert(0, task)
        return {"TaskHandle": handle}

    def listed(data, _url):
        limit = int(data.get("MaxResults", 1))
        results = tasks.get(data.get("SourceArn", ""), [])[:limit]
        # AWS gives the handle of running tasks only, and these have ended.
        return {"Results": [{name: content for name, content in task.items() if name != "TaskHandle"} for task in results]}

    sqs._HANDLERS.update({"StartMessageMoveTask": start, "ListMessageMoveTasks": listed})


def batch_permissions() -> None:
    """A batch call of SQS needs the permission of the single call."""
    from ministack.core import iam_actions

    original = iam_actions.extract_iam_action

    def extract(service, *positional, **named):
        action = original(service, *positional, **named)
        return action.removesuffix("Batch") if service == "sqs" and action else action

    iam_actions.extract_iam_action = extract


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
