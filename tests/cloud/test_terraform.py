"""infra/ without any server: its format, its validity, its own tests."""

import pathlib
import shutil
import subprocess

import deployment
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def copied(terraform, tmp_path_factory) -> pathlib.Path:
    """The configuration in a folder of its own, so that nothing is written into the checkout."""
    folder = tmp_path_factory.mktemp("terraform")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(ROOT / "infra", folder / "infra", ignore=ignored)
    shutil.copytree(ROOT / "localstack" / "terraform", folder / "localstack" / "terraform", ignore=ignored)
    return folder


def run(terraform: str, folder: pathlib.Path, *arguments: str) -> str:
    done = subprocess.run(
        [terraform, *arguments], cwd=folder, env=deployment.terraform_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"terraform {' '.join(arguments)} in {folder}:\n{done.stdout}"
    return done.stdout


@pytest.mark.parametrize("folder", ["infra", "localstack/terraform"])
def test_is_formatted(terraform, copied, folder):
    run(terraform, copied / folder, "fmt", "-check", "-recursive", "-diff")


@pytest.mark.parametrize("folder", ["infra", "infra/examples/simple", "infra/examples/complete", "localstack/terraform"])
def test_is_valid(terraform, copied, folder):
    run(terraform, copied / folder, *deployment.init_arguments(), "-backend=false")
    run(terraform, copied / folder, "validate", "-no-color")


def test_own_tests_pass(terraform, copied):
    run(terraform, copied / "infra", *deployment.init_arguments(), "-backend=false")
    assert "0 failed" in run(terraform, copied / "infra", "test", "-no-color")
