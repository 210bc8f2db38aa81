"""infra/ applied to an emulator by terraform, and what it made."""

import contextlib
import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys

from botocore.exceptions import ClientError
from children import Children, Failure

ROOT = pathlib.Path(__file__).resolve().parent.parent
TERRAFORM_MISSING = (
    "terraform is not there: install 1.5.7 or newer (https://developer.hashicorp.com/terraform/install), "
    "or name its path in ICEPRESS_TERRAFORM"
)


def find_terraform() -> str:
    """Path of terraform (or of what ICEPRESS_TERRAFORM names)."""
    found = shutil.which(os.environ.get("ICEPRESS_TERRAFORM", "terraform"))
    if not found:
        raise Failure(TERRAFORM_MISSING, 2)
    return found


def plugin_folder() -> str | None:
    """A folder that holds the AWS provider already, in the layout of `terraform providers mirror` unpacked; None if there is none."""
    system = subprocess.run(["uname", "-s"], capture_output=True, text=True, check=True).stdout.strip().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    home = pathlib.Path.home()
    shared = [
        os.environ.get("ICEPRESS_TF_PLUGINS", ""),
        str(home / ".terraform.d/plugins"),
        str(home / ".local/share/terraform/plugins"),
        "/usr/local/share/terraform/plugins",
        "/usr/share/terraform/plugins",
        "/opt/*",
        "/opt/terraform/*",
    ]
    for folder in shared:
        for provider in sorted(glob.glob(f"{folder}/*/hashicorp/aws/*/{system}_{machine}")) if folder else []:
            return str(pathlib.Path(provider).parents[4])
    return None


def terraform_environment() -> dict[str, str]:
    """The environment for terraform: no calls home, and no command-line configuration file that is not there."""
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    named = environment.get("TF_CLI_CONFIG_FILE")
    if named and not os.path.exists(named):
        del environment["TF_CLI_CONFIG_FILE"]
    # Credentials of a person must never reach an emulator, nor a mistake in the endpoints reach a person's account.
    for name in [each for each in environment if each.startswith("AWS_")]:
        del environment[name]
    return environment


def init_arguments() -> list[str]:
    """Arguments for `terraform init`."""
    folder = plugin_folder()
    return ["init", "-input=false", "-no-color"] + ([f"-plugin-dir={folder}"] if folder else [])


class Deployment:
    """One apply of infra/ on an emulator. The configuration is copied into the run's folder, so that runs do not meet."""

    def __init__(self, children: Children, terraform: str, run: pathlib.Path, endpoint: str, zips: dict[str, pathlib.Path], machine: str, locations: list[str], mode: str | dict = "maintain"):
        self.children = children
        self.log = run / "terraform.log"
        self.outputs: dict = {}
        self.environment = terraform_environment()
        source = run / "src"
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "examples")
        shutil.copytree(ROOT / "infra", source / "infra", ignore=ignored)
        shutil.copytree(ROOT / "localstack" / "terraform", source / "localstack" / "terraform", ignore=ignored)
        self.base = [terraform, f"-chdir={source / 'localstack' / 'terraform'}"]
        variables = {
            "endpoint": endpoint,
            "scheduler_zip": str(zips["scheduler"].resolve()),
            "optimizer_zip": str(zips["optimizer"].resolve()),
            "cleaner_zip": str(zips["cleaner"].resolve()),
            "architecture": "arm64" if machine in ("aarch64", "arm64") else "x86_64",
            "table_locations": locations,
            "mode": mode,
            "log_filter": os.environ.get("RUST_LOG", "info"),
        }
        (source / "localstack" / "terraform" / "run.auto.tfvars.json").write_text(json.dumps(variables))

    def begin_apply(self) -> None:
        """Starts init and apply; `finish_apply` waits for them."""
        if self.children.run("terraform", self.base + init_arguments(), self.log, self.environment) != 0:
            raise self.failure("terraform init failed (it needs the AWS provider 5.80 or newer: from the network, or from a folder that ICEPRESS_TF_PLUGINS names)")
        self.children.start("terraform", self.base + ["apply", "-input=false", "-no-color", "-auto-approve"], self.log, self.environment)

    def finish_apply(self) -> None:
        """Waits for apply, then reads the outputs."""
        if self.children.wait("terraform") != 0:
            raise self.failure("terraform apply failed")
        shown = subprocess.run(self.base + ["output", "-json"], capture_output=True, env=self.environment, check=True)
        self.outputs = {name: output["value"] for name, output in json.loads(shown.stdout).items()}

    def assert_no_drift(self) -> None:
        """A second plan must be empty."""
        if self.children.run("terraform", self.base + ["plan", "-input=false", "-no-color", "-detailed-exitcode"], self.log, self.environment) != 0:
            raise self.failure("terraform plan is not clean after apply")

    def destroy(self) -> None:
        """Removes everything again."""
        if self.children.run("terraform", self.base + ["destroy", "-input=false", "-no-color", "-auto-approve"], self.log, self.environment) != 0:
            raise self.failure("terraform destroy failed")

    def waiting(self, sqs) -> list[int]:
        """Messages in each task queue, those at work and those hidden included."""
        return [_messages(sqs, url) for url in self.outputs["queue_urls"]]

    def dead(self, sqs) -> int:
        """Messages in all dead-letter queues."""
        return sum(_messages(sqs, url) for url in self.outputs["dead_queue_urls"])

    def invoke_scheduler(self, functions) -> str:
        """Runs the scheduler once, as the schedule would; returns its answer."""
        event = {
            "version": "0",
            "id": "00000000-0000-0000-0000-000000000000",
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": "123456789012",
            "time": "2026-01-01T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail": "{}",
        }
        answer = functions.invoke(FunctionName=self.outputs["scheduler_function_name"], Payload=json.dumps(event).encode())
        text = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise Failure(f"the scheduler failed: {text}")
        return text

    def assert_only_the_cleaner_may_delete(self, client, bucket: str, key: str) -> None:
        """With each function's own policy, an object of a table can be read; with the cleaner's alone can one be deleted, and none
        that lies elsewhere. `client` makes boto3 clients."""
        own = client("s3")
        elsewhere = "elsewhere/not-a-table"
        own.put_object(Bucket=bucket, Key=elsewhere, Body=b"kept")
        copy = f"{key}.copy"
        own.copy_object(Bucket=bucket, Key=copy, CopySource={"Bucket": bucket, "Key": key})
        for name in ("scheduler", "optimizer", "cleaner"):
            with self._probe(client, self.outputs[f"{name}_function_name"]) as storage:
                storage.get_object(Bucket=bucket, Key=key)["Body"].close()
                for doomed in (copy, elsewhere):
                    may = name == "cleaner" and doomed == copy
                    if _may_delete(storage, bucket, doomed) != may:
                        raise Failure(f"the {name} could {'not ' if may else ''}delete s3://{bucket}/{doomed}")
        own.delete_object(Bucket=bucket, Key=elsewhere)

    @contextlib.contextmanager
    def _probe(self, client, function: str):
        """S3 as one with a function's policy reaches it."""
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
        iam, probe = client("iam"), f"{function}-probe"
        policy = iam.get_role_policy(RoleName=function, PolicyName="work")["PolicyDocument"]
        role = iam.create_role(RoleName=probe, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=probe, PolicyName="work", PolicyDocument=json.dumps(policy))
        keys = client("sts").assume_role(RoleArn=role, RoleSessionName="probe")["Credentials"]
        yield client(
            "s3",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        iam.delete_role_policy(RoleName=probe, PolicyName="work")
        iam.delete_role(RoleName=probe)

    def print_function_logs(self, logs, lines: int = 60) -> None:
        """The end of all functions' logs, on stderr."""
        for name in (self.outputs[f"{each}_function_name"] for each in ("scheduler", "optimizer", "cleaner")):
            print(f"the last lines of /aws/lambda/{name}:", file=sys.stderr)
            try:
                events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
            except Exception as error:  # logs are a help, never the reason for a failure
                print(f"(cannot be read: {error})", file=sys.stderr)
                continue
            for event in events[-lines:]:
                print(event["message"].rstrip(), file=sys.stderr)

    def failure(self, what: str) -> Failure:
        """A Failure with the end of terraform's log."""
        lines = self.log.read_text(errors="replace").splitlines()[-40:]
        return Failure(what + ":\n" + "\n".join(lines))


def _may_delete(storage, bucket: str, key: str) -> bool:
    try:
        storage.delete_object(Bucket=bucket, Key=key)
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def _messages(sqs, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes.get(name, 0)) for name in names)
