"""Every code block of every page runs as printed, with tiny models and sets for its names."""

import importlib
import importlib.util
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from dataset_scripts.common.cli import VERBS
from forked import run_forked
from person_search_folders import draw_picture, make_folder

ROOT = Path(__file__).parents[1]
PAGES = [*(f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "model_card"))]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))

# pages whose Python blocks another test runs, one by one, and how many they are
ELSEWHERE = {
    "docs/loading.md": ("tests/modeling_prompt_clip/test_loading_page.py", 6),
    "docs/training.md": ("tests/trainers/test_training_document.py", 3),
}
# what the Python blocks of a page take for granted
GIVEN = {
    "docs/evaluation.md": """
from modeling_prompt_clip import load_model
from dataset_scripts import load_person_search
model, processor = load_model("runs/demo")
validation = load_person_search("cuhk_pedes", data_dir="CUHK-PEDES", split="validation")
from modeling_prompt_clip.retrieval import TextToImageEvaluator
encoded = TextToImageEvaluator(validation, processor).encode(model)
text_embeds, image_embeds = encoded.text_embeds, encoded.image_embeds
text_person_ids, image_person_ids = encoded.text_person_ids, encoded.image_person_ids
""",
    "docs/publishing.md": """
from trainers import TwoStageTrainingArguments
args = TwoStageTrainingArguments(
    base_model="openai/clip-vit-base-patch16", image_size=[96, 32], dataset="custom", data_dir="my-data",
    output_dir="run", direct=True, batch_size=4, stage_two_max_steps=1, num_workers=0, report_to="none",
)
""",
}
# blocks that show what is printed or stored: their first line, words of theirs, and the files that must have them
SHOWN = {
    "CUHK-PEDES/            ICFG-PEDES/                RSTPReid/               UFine6926/": (
        r"\w+\.json\b",
        "dataset_scripts/formats/*.py tests/helpers/person_search_folders.py",
    ),
    "error: path that leaves the image folder (bad_path), 1 case": (
        r"(?<=error: ).*(?= \()|(?<=-> ).*",
        "dataset_scripts/annotations/problems.py",
    ),
    "this run is made of 1 process(es), but accelerate launch was asked for several (MASTER_ADDR is set; ...)": (
        r"this run is made of|accelerate launch was asked for",
        "trainers/distributed/launch_check.py",
    ),
}
# verbs that are only parsed here, and why
PARSED = {
    "train": "trains for minutes at least; tests/trainers does it with tiny models",
    "push": "writes to the Hub; tests/trainers/publishing does it with a Hub of its own",
    "data push": "writes to the Hub; tests/dataset_scripts/parquet does it with a Hub of its own",
    "convert": "needs a checkpoint of IRRA; tests/modeling_prompt_clip/conversion rebuilds its layout",
}
OTHER_PROGRAMS = ("git clone <this repository>", "hf auth login", "pip install onnxruntime tokenizers numpy pillow")


class Block(NamedTuple):
    """A fenced block: its page, the line of its fence, its language ("" without), its code."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    blocks = [Block(page, text.count("\n", 0, match.start()) + 1, *match.groups()) for match in found]
    assert len(blocks) * 2 == len(re.findall(r"^ *(?:```|~~~)", text, flags=re.MULTILINE)), "a fence that is not read"
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]

PYTHON_PAGES = [
    pytest.param(page, marks=[pytest.mark.slow] * (page in ("docs/export.md", "docs/publishing.md")))
    for page in PAGES
    if page not in ELSEWHERE and any(block.page == page and block.language == "python" for block in BLOCKS)
]


def commands_of(block: Block) -> list[str]:
    """Return the command lines of a block without language, or of a printed session."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if session := [line[2:] for line in lines if line.startswith("$ ")]:
        return session
    parts = [part for line in lines for part in line.split(" && ")]
    return [part for part in parts if part.strip()]


SLOW = ("prompt-clip export", "prompt-clip evaluate", "prompt-clip data convert")
COMMANDS = [
    pytest.param(command, id=f"{block}: {command[:60]}", marks=[pytest.mark.slow] * command.startswith(SLOW))
    for block in BLOCKS
    if block.language == "" and block.code.splitlines()[0] not in SHOWN
    for command in commands_of(block)
]


@pytest.fixture
def place(tiny_folder, tiny_clip_folder, tmp_path, monkeypatch):
    """A folder with what the pages name: runs, a gallery, sets."""
    for run in ("demo", "cuhk_pedes"):
        shutil.copytree(tiny_folder, tmp_path / "runs" / run / "model")
    shutil.copytree(tiny_folder, tmp_path / "alice" / "prompt-clip-cuhk")
    shutil.copytree(tiny_clip_folder, tmp_path / "openai" / "clip-vit-base-patch16")
    for place in ("photos/1.jpg", "photos/2.jpg", "runs/demo/gallery/01176_c2_0.jpg"):
        draw_picture(tmp_path / place, place)
    for name in ("CUHK-PEDES", "ICFG-PEDES", "RSTPReid", "SYNTH-PEDES"):
        make_folder(name.lower().replace("-", "_").replace("rstpreid", "rstp_reid"), tmp_path / name)
    make_folder("custom", tmp_path / "my-data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def local(text: str) -> str:
    """Return code or a command for sets in the working folder and the account of the tests' Hub."""
    return text.replace("/data/", "").replace("my-lab", "alice")


def test_every_block_has_a_rule():
    assert len(BLOCKS) > 50
    odd = [str(block) for block in BLOCKS if block.language not in ("", "python", "jsonl", "bibtex")]
    assert not odd, "no rule for their language"
    assert set(SHOWN) <= {block.code.splitlines()[0] for block in BLOCKS}
    for page, (test, count) in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text()
        assert sum(block.page == page and block.language == "python" for block in BLOCKS) == count


@pytest.mark.parametrize(("first_line", "words", "files"), [(line, *rule) for line, rule in SHOWN.items()])
def test_what_a_block_shows_is_what_the_code_says(first_line, words, files):
    (shown,) = (block.code for block in BLOCKS if block.code.startswith(first_line))
    source = "".join(path.read_text() for pattern in files.split() for path in ROOT.glob(pattern))
    assert (found := re.findall(words, shown))
    assert not [word for word in found if word not in source]


@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, place, hub):
    blocks = [block for block in blocks_of(page) if block.language == "python"]
    names: dict[str, object] = {}
    exec(GIVEN.get(page, ""), names)
    for block in blocks:
        exec(compile(local(block.code), str(block), "exec"), names)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_printed(command, place):
    if command.strip().startswith(OTHER_PROGRAMS):
        return
    words = shlex.split(re.sub(r'"\$\(.*?\)"', "FILE", local(command)), comments=True)
    program, *rest = words
    match words:
        case ["cd", "prompt-clip-reid"]:
            assert (ROOT / "pyproject.toml").exists()
        case ["make", *targets]:
            assert set(targets) <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        case ["pip", "install", "-c", constraints, "-e", extra]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert (ROOT / constraints).exists() and extra[2:-1] in project["optional-dependencies"]
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["python", script, *_]:
            assert (ROOT / script).exists()
        case ["accelerate", "launch", *options]:
            assert importlib.util.find_spec("trainers.two_stage")
            parse("train", options[options.index("trainers.two_stage") + 1 :])
        case ["prompt-clip", *arguments]:
            run_or_parse(arguments, place)
        case _:
            pytest.fail(f"no rule for {program}")


def parse(verb: str, arguments: list[str]) -> None:
    importlib.import_module(VERBS[verb].parser).parse(arguments)


def run_or_parse(arguments: list[str], folder: Path) -> None:
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    verb = next(verb for verb in VERBS if arguments[: len(verb.split())] == verb.split())
    parse(verb, rest := arguments[len(verb.split()) :])
    drawn = verb == "evaluate" and ("--data" not in rest or "synthetic_pedes" in rest)  # takes a minute to draw
    if verb in PARSED or drawn:
        return
    outcome = run_forked(arguments, folder, seconds=120)
    findings = (1,) if verb == "data check" else ()  # the tiny sets have other counts than the published ones
    assert outcome.status in (0, *findings), outcome.stderr
    assert outcome.stdout
