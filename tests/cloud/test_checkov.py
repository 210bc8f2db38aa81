"""infra/ as checkov judges it, but for what infra/.checkov.yaml leaves out and says why."""

import json
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkov() -> pathlib.Path:
    """The tool in an environment of its own: it asks for other versions of libraries than the tests do."""
    made = subprocess.run([ROOT / "tests" / "venv", "checkov"], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(made.stdout.strip()) / "bin" / "checkov"


def judged(checkov: pathlib.Path, folder: pathlib.Path) -> dict:
    command = [checkov, "--config-file", ROOT / "infra" / ".checkov.yaml", "--directory", folder, "--output", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stdout.startswith("{"), f"checkov ended with {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


def test_nothing_is_found_but_what_is_left_out_with_a_reason(checkov):
    report = judged(checkov, ROOT / "infra")
    assert report["results"]["failed_checks"] == []
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 200


def test_a_queue_that_is_not_encrypted_is_found(checkov, tmp_path):
    queues = tmp_path / "queues"
    shutil.copytree(ROOT / "infra" / "modules" / "queues", queues)
    main = queues / "main.tf"
    lines = main.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.strip().startswith(("kms_", "sqs_managed_sse_enabled"))]
    assert len(kept) < len(lines)
    main.write_text("".join(kept))
    failed = judged(checkov, queues)["results"]["failed_checks"]
    assert "CKV_AWS_27" in {check["check_id"] for check in failed}
