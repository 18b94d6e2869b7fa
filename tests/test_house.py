"""The house rules that no linter knows."""

import ast
import functools
import importlib.util
import itertools
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from packaging.requirements import Requirement
from packaging.version import Version

from dataset_scripts.common.cli import EXAMPLES, EXTRA_OF_MODULE, VERBS
from dataset_scripts.common.installing import install_hint
from trainers.distributed import launch

ROOT = Path(__file__).parents[1]
PACKAGES = ("modeling_prompt_clip", "trainers", "dataset_scripts")


def test_a_bare_make_explains_every_target():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"demo", "test", "test-all", "lint", "bench"} <= set(targets)
    for target in set(targets) - {"help"}:
        assert re.search(rf"^  make {target} +\S", shown, flags=re.MULTILINE), target


def test_the_project_states_what_it_promises():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["name"] == "prompt-clip-reid"
    assert {"train", "demo", "export", "test", "dev"} <= set(project["project"]["optional-dependencies"])
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{name}*" for name in PACKAGES]
    constraints = (ROOT / "constraints.txt").read_text()
    assert "torch==2.13.0" in constraints
    assert not re.search(r"^torchvision", constraints, flags=re.MULTILINE)


def test_every_package_of_an_extra_is_used():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "cli.py"]
    code = "\n".join(path.read_text() for path in paths)
    for extra in extras.keys() - {"test", "dev"}:
        names = {Requirement(text).name for text in extras[extra]}
        assert names, extra
        for name in names - {"prompt-clip-reid"}:
            assert re.search(rf'^ *(import|from) {name}\b|"{name}"', code, flags=re.MULTILINE), (extra, name)


def test_versions_agree():
    from dataset_scripts import common
    from modeling_prompt_clip import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__ == common.__version__
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()


def test_everything_that_is_no_code_goes_into_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]
    listing = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    data = {path for path in map(Path, listing.stdout.splitlines()) if path.suffix != ".py"}
    packed = {
        found.relative_to(ROOT)
        for package, globs in patterns.items()
        for pattern in globs
        for found in (ROOT / package).glob(pattern)
    }
    assert data and data <= packed, f"left out: {sorted(data - packed)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_files_stay_short(package):
    long = {
        path.name: lines
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().split("\n"))) > 400
    }
    assert not long


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_stay_short(package):
    long = {
        f"{path.name}: {node.name}": lines
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        # without the docstring, which may well be longer than the code
        and (lines := node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())) > 60
    }
    assert not long


def test_links_in_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def shown_texts():
    """What people copy from: documents, cards and their template, recipes."""
    places = ("*.md", "docs/**/*.md", "modeling_prompt_clip/**/*.md", "trainers/configs/**/*.yaml")
    return [path for place in places for path in sorted(ROOT.glob(place)) if path.name != "CHANGELOG.md"]


def test_files_that_documents_name_are_there():
    named = re.compile(r"(?<![\w./-])((?:modeling_prompt_clip|trainers|dataset_scripts|tests|benchmarks)/[\w./-]*\w)")
    for path in shown_texts():
        for name in named.findall(path.read_text(encoding="utf-8")):
            if "NAME" not in name:
                assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_modules_that_documents_name_are_imported():
    modules = re.compile(rf"\b((?:{'|'.join(PACKAGES)}|benchmarks)(?:\.\w+)+)(?!\.?\w)")
    imports = re.compile(rf"^[ >.]*from ((?:{'|'.join(PACKAGES)})[\w.]*) import ([^\n(]+|\([^)]*\))", re.MULTILINE)
    shown, texts = set(), [path.read_text(encoding="utf-8") for path in shown_texts()]
    for text in texts:
        shown |= {name for name in modules.findall(text) if not name.endswith((".py", ".md", ".yaml"))}
        for module, names in imports.findall(text):
            shown |= {f"{module}.{name.split()[0]}" for name in names.strip("()\n ").split(",") if name.strip()}
    assert {"modeling_prompt_clip.PromptCLIPModel", "trainers.two_stage", "trainers.launch"} <= shown
    for name in sorted(shown):
        assert pkgutil.resolve_name(name) is not None, name


def verb_parsers():
    return {name: importlib.import_module(verb.parser) for name, verb in VERBS.items()}


def shown_commands():
    """Command lines in the code blocks of documents and in the examples of `--help`."""
    texts = [path.read_text(encoding="utf-8") for path in shown_texts() if path.suffix == ".md"]
    blocks = [block for text in texts for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)]
    blocks += [*EXAMPLES, *(module.parser().epilog or "" for module in verb_parsers().values())]
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [inner for line in lines for inner in re.findall(r"\$\((.*?)\)", line)]
    return sorted({line for line in lines if re.match(r"(prompt-clip|accelerate launch|python) ", line)})


@pytest.mark.parametrize("command", shown_commands())
def test_commands_that_documents_show_are_understood(command):
    words = shlex.split(command, comments=True)
    if words[0] == "prompt-clip":
        verb = next(name for name in (" ".join(words[1:3]), words[1]) if name in VERBS)
        verb_parsers()[verb].parse(list(itertools.takewhile(lambda word: word != ">", words[1 + len(verb.split()) :])))
    elif words[0] == "accelerate":
        args = launch_command_parser().parse_args(words[2:])
        assert args.module and args.training_script == "trainers.two_stage"
        verb_parsers()["train"].parse(args.training_script_args)
    elif words[:3] == ["python", "-m", "trainers.launch"]:
        assert launch.main(words[3:]) == 0
    elif words[1] == "-m":
        source = Path(importlib.util.find_spec(words[2]).origin).read_text(encoding="utf-8")
        assert all(word[2:] in source for word in words[3:] if word.startswith("--"))
    else:
        assert (ROOT / words[1]).is_file()


def test_options_that_documents_name_are_those_of_some_command():
    helps = [module.parser().format_help() for module in verb_parsers().values()]
    known = {option for text in helps for option in re.findall(r"--\w+", text)}
    known |= set(re.findall(r'"(--\w+)"', "".join(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))))
    known |= {f"--no_{option[2:]}" for option in known}
    known |= {"--config_file", "--cpu", "--list", "--no_python", "--num_processes", "--nproc_per_node"}  # of launchers
    for path in shown_texts():
        shown = set(re.findall(r"(?<![\w-])--[a-z]\w+(?![\w-])", path.read_text(encoding="utf-8")))
        assert shown <= known, f"{path.name}: {sorted(shown - known)}"


@functools.cache
def help_of(module: str) -> subprocess.CompletedProcess:
    """`python -m MODULE --help`; a module that imports itself twice draws a RuntimeWarning."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["trainers.two_stage", "trainers.launch", "modeling_prompt_clip.cli"])
def test_modules_run_by_the_names_that_they_have_had(module):
    done = help_of(module)
    assert done.returncode == 0 and "usage" in done.stdout.lower(), done.stderr


def test_the_training_module_starts_without_importing_itself_twice():
    done = help_of("trainers.two_stage")
    assert done.returncode == 0, done.stderr
    assert "RuntimeWarning" not in done.stderr


def test_nobody_is_sent_to_a_name_that_is_not_registered():
    """Whoever registers `prompt-clip-reid` on PyPI would be installed by a message that names it."""
    told = re.compile(
        r"\bpip3? +(?:install|download)\b[^\n]*prompt[-_.]clip[-_.]reid|pypi\.org/project/prompt", re.IGNORECASE
    )
    places = [
        f"{path}:{number}"
        for path in tracked_texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if told.search(line)
    ]
    assert not places


def test_the_hint_names_extras_that_there_are_and_works_in_a_checkout():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    texts = [path.read_text(encoding="utf-8") for path in tracked_texts()]
    told = {
        extra for text in texts for found in re.findall(r"-e ['\"]\.\[([\w,]+)\]", text) for extra in found.split(",")
    }
    told |= {extra for text in texts for extra in re.findall(r"install_hint\(['\"](\w+)['\"]\)", text)}
    told |= set(EXTRA_OF_MODULE.values())
    assert {"train", "export", "deepspeed"} <= told <= set(extras)
    assert install_hint("train").startswith('pip install -e ".[train]"')


DISTRIBUTION_OF_MODULE = {"PIL": "pillow", "yaml": "pyyaml"}


def imported_modules(package):
    """Modules of others that a package imports anywhere, and those that it imports whenever a file of it is."""
    anywhere, always = set(), set()
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = {node.module.partition(".")[0]}
            else:
                continue
            names -= {*sys.stdlib_module_names, *PACKAGES}
            anywhere |= names
            always |= names if node in tree.body else set()
    return anywhere, always


def declared_distributions():
    """Names in `dependencies`, and in each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return names_of(project["dependencies"]), {extra: names_of(texts) for extra, texts in extras.items()}


def names_of(requirements):
    return {Requirement(text).name for text in requirements}


def test_every_imported_module_is_declared_and_a_missing_one_names_its_extra():
    core, extras = declared_distributions()
    imported = set().union(*(imported_modules(package)[0] for package in PACKAGES))
    optional = {name for name in imported if DISTRIBUTION_OF_MODULE.get(name, name) not in core}
    assert {"datasets", "matplotlib", "onnxruntime", "pyarrow"} <= optional
    # nothing here imports these two by name: accelerate's tracker and torch's ONNX exporter do
    assert optional | {"tensorboard", "onnx"} == set(EXTRA_OF_MODULE)
    for module, extra in EXTRA_OF_MODULE.items():
        assert module in extras[extra], f"{module} is imported, and the extra {extra} does not declare it"


def test_the_model_package_imports_only_dependencies_that_are_always_there():
    core, _ = declared_distributions()
    optional_rooms = {"evaluate", "datasets", "onnxruntime", "onnxscript"}  # the metric's script and the ONNX export
    always = imported_modules("modeling_prompt_clip")[1]
    assert {DISTRIBUTION_OF_MODULE.get(name, name) for name in always} - core <= optional_rooms


@pytest.mark.parametrize(
    ("name", "lowest"),
    [
        ("torch", "2.10"),  # CVE-2026-24747: weights_only=True ran code
        ("pillow", "12.3"),
        ("onnx", "1.21"),
    ],
)
def test_lower_bounds_keep_what_the_documents_promise(name, lowest):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    (bound,) = [Requirement(text) for text in declared if Requirement(text).name == name]
    below = Version(lowest)
    assert bound.specifier.contains(below) and not bound.specifier.contains(f"{below.major}.{below.minor - 1}.99")


def test_the_tested_versions_are_within_the_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = dict(
        line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    for text in (*project["dependencies"], *sum(project["optional-dependencies"].values(), [])):
        requirement = Requirement(text)
        if requirement.name in tested:
            assert requirement.specifier.contains(tested[requirement.name]), text


def tracked_texts():
    """Everything that is read by people or printed: code, documents, recipes; the tests name the name themselves."""
    kinds = {".py", ".md", ".yaml", ".toml", ".txt", ".cff", ""}
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    paths = [ROOT / name for name in names if name and not name.startswith("tests/")]
    return [path for path in paths if path.suffix in kinds and path.is_file()]
