"""Master keys that AWS KMS guards, against moto's server of its API: the file opens only where KMS allows it."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra.aws_kms import KmsRefused
from infra.master_keys import BYTES, WrongMasterKey, add_to_file, make_file, read_file


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of KMS, with the environment that a process of Kehu would have."""
    told = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "eu-west-1", "MAX_ATTEMPTS": "1"}
    for name, value in {**told, "ENDPOINT_URL_KMS": endpoint, "EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return boto3.client("kms")


@pytest.fixture
def named(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def test_a_file_holds_master_keys_that_kms_opens_and_a_new_one_is_guarded_by_the_same_key(
    named: str, tmp_path: Path
) -> None:
    file = tmp_path / "master.key"
    assert make_file(file, named)
    assert not make_file(file, named)
    first = read_file(file)
    add_to_file(file)
    keys = read_file(file)
    assert [len(key) for key in keys] == [BYTES, BYTES]
    assert keys[:1] == first != keys[1:]
    assert file.read_text().count(f"kms:{named}:") == 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_may_go_over_from_keys_of_its_own_to_keys_of_kms(named: str, tmp_path: Path) -> None:
    own, guarded = tmp_path / "own.key", tmp_path / "guarded.key"
    assert make_file(own)
    assert make_file(guarded, named)
    own.write_text(own.read_text() + guarded.read_text())
    assert read_file(own)[1:] == read_file(guarded)


def test_what_was_made_for_another_use_is_not_opened(kms: Any, named: str, tmp_path: Path) -> None:
    sealed = kms.encrypt(KeyId=named, Plaintext=b"k" * BYTES, EncryptionContext={"use": "something else"})
    (tmp_path / "master.key").write_text(f"kms:{named}:{b64encode(sealed['CiphertextBlob']).decode()}\n")
    with pytest.raises(KmsRefused, match=named):
        read_file(tmp_path / "master.key")


@pytest.mark.usefixtures("kms")
def test_an_unknown_key_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(KmsRefused, match="alias/nowhere"):
        make_file(tmp_path / "master.key", "alias/nowhere")
    assert list(tmp_path.iterdir()) == []


def test_kms_that_does_not_answer_is_told(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_file(tmp_path / "master.key", named)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    with pytest.raises(KmsRefused, match=r"127\.0\.0\.1:9"):
        read_file(tmp_path / "master.key")


@pytest.mark.parametrize("line", ["kms:", "kms:alias/x:###", "c2hvcnQ="])
def test_a_line_that_is_no_key_is_told(line: str, tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text(line)
    with pytest.raises((KmsRefused, WrongMasterKey)):
        read_file(tmp_path / "master.key")
