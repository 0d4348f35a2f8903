"""The blocks of the pages for users do what the pages say."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import COMMAND, ROOT

PAGES = ["quickstart.md", "python.md"]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "docs" / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_one_after_the_other(page: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    names: dict = {}
    found = blocks(page)
    assert len(found) >= 4
    for language, text in found:
        if language == "python":
            exec(compile(text, page, "exec"), names)
            continue
        for line in text.splitlines():
            assert line.startswith("$ "), line
            done = subprocess.run(
                shlex.split(line[2:]),
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_blocks_are_found() -> None:
    assert {language for page in PAGES for language, _ in blocks(page)} == {"python", "console"}
