"""The rooms import each other in one direction only, and importing the model package stays cheap."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("modeling_prompt_clip", "trainers", "dataset_scripts")
MAY_IMPORT = {
    "modeling_prompt_clip": {"modeling_prompt_clip"},
    "dataset_scripts": {"dataset_scripts"},
    "trainers": {"trainers", "modeling_prompt_clip", "dataset_scripts"},
}
OUTSIDE = {"tests", "benchmarks"}
FLAT = [
    "private_uploads",
    "folder_checks",
    "configuration_prompt_clip",
    "prompted_attention",
    "prompted_layers",
    "prompted_towers",
    "modeling_prompt_clip",
    "processor_files",
    "processing_prompt_clip",
]
# a room imports itself and the rooms before it; top-level names of a package are for those outside, and for commands
ORDER = {
    "modeling_prompt_clip": [
        *FLAT,
        *"assets prompt_tuning loading retrieval conversion export hub uploads commands cli".split(),
    ],
    "dataset_scripts": "common synthetic annotations formats builders leaks parquet integrity commands".split(),
    "trainers": (
        "transforms objectives arguments data distributed run_folder configs publishing stages two_stage commands"
    ).split(),
}
SHIMS = {"launch.py"}  # the name that `python -m trainers.launch` knows
MOST_ENTRIES = 13
HEAVY = ["datasets", "evaluate", "matplotlib", "lancedb", "gradio"]


def imported_names(path: Path) -> list[tuple[int, str]]:
    """`(level, module)` of every import in a file, inside functions too; level 0 is absolute."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_common(room: str, path: Path, name: str) -> bool:
    """Whether the model package imports what it may, from its rooms and what stands above them: the common room."""
    in_a_room = path.parent != ROOT / "modeling_prompt_clip" or path.name in ("cli.py", "loading.py", "uploads.py")
    return room == "modeling_prompt_clip" and in_a_room and is_of(name, "dataset_scripts.common")


FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_directions_between_rooms(path: Path):
    room = path.relative_to(ROOT).parts[0]
    tops = {
        name.split(".")[0] for level, name in imported_names(path) if level == 0 and not is_common(room, path, name)
    }
    forbidden = (set(ROOMS) | OUTSIDE) - MAY_IMPORT[room]
    assert not tops & forbidden, f"{room} must not import {sorted(tops & forbidden)}"


def test_the_common_room_stands_on_nothing_else():
    """All packages import it, `search` among them, which works without `datasets`."""
    for path in (ROOT / "dataset_scripts/common").glob("*.py"):
        for _, name in imported_names(path):
            assert not is_of(name, "dataset_scripts") or is_of(name, "dataset_scripts.common"), path
    script = """
import sys
from dataset_scripts.common import files, images
heavy = [name for name in ("datasets", "torch", "pyarrow", "transformers") if name in sys.modules]
raise SystemExit("dataset_scripts.common also imports " + ", ".join(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FLAT)
def test_flat_files_import_only_the_flat_files_before_them(name: str):
    """They travel as remote code, which follows relative imports of the same folder only, and need no PEFT."""
    imports = imported_names(ROOT / "modeling_prompt_clip" / f"{name}.py")
    assert all(level <= 1 for level, _ in imports)
    assert {module for level, module in imports if level == 1} <= set(FLAT[: FLAT.index(name)])
    assert not any(module.split(".")[0] in ROOMS for level, module in imports if level == 0)


@pytest.mark.parametrize("package", ORDER)
def test_rooms_import_only_the_rooms_before_them(package: str):
    order = ORDER[package]
    assert {name.removesuffix(".py") for name in entries(ROOT / package) if name not in SHIMS} == set(order)
    for place, room in enumerate(order):
        folder = ROOT / package / room
        allowed = [f"{package}.{name}" for name in order[: place + 1]]
        for path in folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]:
            for _, name in imported_names(path):
                outside = name == package and room == "commands"
                assert outside or not is_of(name, package) or any(is_of(name, each) for each in allowed), (
                    f"{path}: {name}"
                )


def test_no_module_imports_itself_by_way_of_others():
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    arrows: dict[str, set[str]] = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        hints = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ]
        not_run = {id(node) for hint in hints for node in ast.walk(hint)}
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in not_run]
        for node in imports:
            name = f"modeling_prompt_clip.{node.module}" if node.level else node.module
            names = {f"{name}.{alias.name}" for alias in node.names} & files.keys() or {name} & files.keys()
            arrows.setdefault(module, set()).update(names)
    assert len(arrows) > 200
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("package", ORDER)
def test_the_table_of_rooms_is_complete_and_in_order(package: str):
    _, _, table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(f"| **`{package}/`** | |\n")
    rows = re.findall(r"^\| `(\w+)", table.partition("| **")[0], re.MULTILINE)
    assert rows == [name for name in ORDER[package] if name in rows]
    assert {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} <= set(rows)


def entries(folder: Path) -> set[str]:
    """Names in a folder, without what every package has."""
    return {path.name for path in folder.iterdir()} - {"__init__.py", "__pycache__", "py.typed"}


def test_no_room_is_crowded():
    rooms = {ROOT / package for package in ROOMS} | {path.parent for path in FILES}
    remote_code = {f"{name}.py" for name in FLAT}  # the Hub wants these files in one folder
    sizes = {str(room.relative_to(ROOT)): len(entries(room) - remote_code) for room in rooms}
    assert not {room: size for room, size in sizes.items() if size > MOST_ENTRIES}


def test_other_files_import_absolutely():
    for path in FILES:
        if path.stem not in FLAT:
            assert all(level == 0 for level, _ in imported_names(path)), path


def test_importing_the_model_package_is_cheap():
    names = [*HEAVY, "trainers", "dataset_scripts", "modeling_prompt_clip.retrieval"]
    script = f"""
import sys
import modeling_prompt_clip
heavy = [name for name in {names!r} if name in sys.modules]
raise SystemExit("import modeling_prompt_clip also imports " + ", ".join(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
