"""Bash completes verbs, options, choices and files by the script that `prompt-clip completion bash` prints."""

import subprocess

import pytest

from dataset_scripts.common import completion

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
$(complete -p prompt-clip | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "prompt-clip"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
        patch.setattr("sys.stdout", file)
        assert completion.main(["bash"]) == 0
    return path


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["ev"], {"evaluate"}),
        (["data", ""], {"check", "convert", "push"}),
        (["data", "check", "--annot"], {"--annotation_only"}),
        (["evaluate", "--ties", "p"], {"pessimistic"}),
        (["train", "--stage_two_obj"], {"--stage_two_objectives"}),
        (["search", "m", "--gallery", "pho"], {"photos"}),
    ],
)
def test_bash_completes(words, answers, script, tmp_path):
    (tmp_path / "photos").mkdir()
    command = ["bash", "-c", ASK, "ask", str(script), "prompt-clip", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answers <= set(done.stdout.split()), done.stderr
