"""The demo shows the main job, accounts for every message, and leaves nothing behind unless it fails."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.cli import kehu


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The temporary folders that are made from now on."""
    made: list[Path] = []
    make = tempfile.mkdtemp

    def remembered(suffix: str | None = None, prefix: str | None = None, dir: str | None = None) -> str:
        made.append(Path(make(suffix, prefix, dir)))
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", remembered)
    return made


def test_the_demo_accounts_for_every_message_and_shows_the_read_models(folders: list[Path]) -> None:
    done = kehu("demo", "--events", "600", "--seed", "5")
    assert (done.code, done.err) == (0, "")
    titles = ("Reconciliation", "Satisfaction by channel", "Retention risk", "Queues of cases", "Customer c-")
    places = [done.out.index(title) for title in titles]
    assert places == sorted(places)
    assert max(map(len, done.out.splitlines())) <= 100
    (total,) = [line.split() for line in done.out.splitlines() if line.startswith("all ")]
    assert total[1:3] == ["600", "600"]
    assert len(folders) >= 2
    assert not any(folder.exists() for folder in folders)


def test_a_demo_that_fails_keeps_its_logs_and_says_where(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.cli.demo.PATIENCE", 0)
    done = kehu("demo", "--events", "600")
    assert done.code == 1
    assert "The worker did not finish" in done.err
    kept = [folder for folder in folders if folder.exists()]
    assert [str(folder) in done.out.replace("\n", "") for folder in kept] == [True]
    assert (kept[0] / "worker.log").exists()
    shutil.rmtree(kept[0])
