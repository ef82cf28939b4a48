"""The wheel, and rules that hold for all source files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"slimevid": ROOT / "slimevid", "slime3d": ROOT / "slime3d", "slimecore": ROOT / "common" / "slimecore"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    copy = tmp_path_factory.mktemp("source") / "repo"
    import shutil

    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", "runs", ".venv*", "build", "*.egg-info", "__pycache__")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(out.glob("*.whl"))


def test_wheel_holds_three_packages(wheel):
    """The wheel holds exactly three packages."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert top == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names


def test_wheel_includes_model_and_stays_small(wheel):
    """The wheel carries the default model and stays small."""
    names = zipfile.ZipFile(wheel).namelist()
    for file in (
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "readout.json",
        "null_prompt.safetensors",
    ):
        assert f"slimecore/models/slime-tiny/{file}" in names
    assert "slimevid/models/completion.safetensors" in names
    assert "slimevid/models/README.md" in names
    assert "slime3d/assets/viewer.html" in names
    assert wheel.stat().st_size < 20e6


def test_common_is_plain_folder():
    """``common`` is a plain folder, not a package."""
    assert not (ROOT / "common" / "__init__.py").exists()


def test_exports_sorted_and_exist():
    """Exports are sorted and exist."""
    import importlib

    for package in PACKAGES:
        module = importlib.import_module(package)
        assert list(module.__all__) == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None, name


def modules():
    return [file for folder in PACKAGES.values() for file in sorted(folder.rglob("*.py"))]


def test_only_cli_prints_or_exits():
    """Only a command line module prints or exits, and only a worker process ends itself."""
    for file in modules():
        if file.name == "cli.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "exit", "quit", "sys.exit"}, f"{file}:{node.lineno}"
                assert called != "os._exit" or file.name == "process_pool.py", f"{file}:{node.lineno}"


def test_source_files_stay_small():
    """Source files stay small."""
    for file in modules():
        assert len(file.read_text().splitlines()) <= 400, file


def test_no_pickle_nor_global_random_state():
    """The source uses no pickle and no global random state."""
    banned = re.compile(
        r"\bimport pickle\b|torch\.load\(|np\.random\.(seed|rand|randn|randint|choice)\b|torch\.manual_seed"
    )
    for file in modules():
        assert not banned.search(file.read_text()), file


def test_public_functions_documented():
    """Public functions are documented."""
    for file in modules():
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree), file
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{file}:{node.lineno}"


def test_readme_has_two_shell_blocks():
    """The README has exactly two shell blocks of a single line each."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    assert all(block.strip().count("\n") == 0 for block in blocks)


def test_no_test_discards_comparison():
    """No test discards a comparison.

    A bare ``np.allclose(...)`` or ``a == b`` statement asserts nothing (einops had such a test for years).
    """
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Expr):
                assert not isinstance(node.value, ast.Compare), f"{file}:{node.lineno}"
                if isinstance(node.value, ast.Call):
                    name = ast.unparse(node.value.func).split(".")[-1]
                    assert name not in {"allclose", "array_equal", "equal", "isclose"}, f"{file}:{node.lineno}"
