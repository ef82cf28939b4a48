"""Write the generated pages of the documentation.

    python scripts/make_docs.py            # write them
    python scripts/make_docs.py --check    # exit status 1 if a page is not what it would be

Pages: ``reference/settings.md`` (from the dataclasses of settings), ``reference/cli.md`` (from the stored help texts),
``reference/api/*.md`` (from the tables of public names), ``decisions.md`` (from the decision records) and
``images/house.svg`` (from the import contracts and the folders).
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.house_figure import house_svg

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HELP = ROOT / "tests" / "golden"
NOTE = "<!-- Written by scripts/make_docs.py. Do not edit. -->\n\n"
PACKAGES = {"slimevid": ROOT / "slimevid", "slime3d": ROOT / "slime3d", "slimecore": ROOT / "common" / "slimecore"}
TITLES = {"slimevid": "Video", "slime3d": "Meshes", "slimecore": "Core: parts, pictures, attention, memory"}
SETTINGS = (  # title, module, class, commands that take them
    ("Video", "slimevid.config", "RunConfig", "`slimevid run` and `slimevid davis`"),
    ("Pictures", "slimecore.pipelines.config", "ImageConfig", "`slime learn` and `slime segment`"),
    ("Meshes", "slime3d.config", "RunConfig", "`slime3d run`"),
)
GROUP = {  # what a group of settings is about, where the dataclass that owns it does not say
    "model": "The backbone and its weights.",
    "views": "Augmented views of a reference.",
    "probe": "Learning in probe mode.",
    "faithful": "Learning in faithful mode.",
    "augment": "Augmentation in faithful mode.",
    "lora": "Low-rank tuning in faithful mode.",
    "segment": "Reading learned parts from a picture.",
    "walk": "The random walk on the surface.",
    "symmetry": "Votes by symmetry.",
    "expansion": "Alpha-expansion.",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of the table: dotted name, type, default and meaning."""

    name: str
    kind: str
    default: Any
    meaning: str


def parameters(docstring: str) -> dict[str, tuple[str, str]]:
    """Read the numpydoc section Parameters: name to (type, meaning). Names that share an entry each get it."""
    lines = inspect.cleandoc(docstring).splitlines()
    found: dict[str, tuple[str, list[str]]] = {}
    names: list[str] = []
    inside = False
    for number, line in enumerate(lines):
        under = lines[number + 1] if number + 1 < len(lines) else ""
        if re.fullmatch(r"-{3,}", under.strip()):
            inside = line.strip() == "Parameters"
        elif inside and line and not line.startswith((" ", "-")):
            left, _, kind = line.partition(" : ")
            names = [name.strip().lstrip("*") for name in left.split(",")]
            found |= {name: (kind.strip(), []) for name in names}
        elif inside and names and line.strip():
            found[names[0]][1].append(line.strip())
            for name in names[1:]:
                found[name] = (found[name][0], found[names[0]][1])
    return {name: (kind, " ".join(text)) for name, (kind, text) in found.items()}


def markdown(text: str) -> str:
    """Turn the reStructuredText of docstrings into Markdown for a table cell."""
    text = re.sub(r":(?:func|class|mod|meth|data|attr):`~?([^`]+)`", r"`\1`", text)
    text = text.replace("``", "`").replace("|", "\\|")
    return re.sub(r"see (?:record|ADR) (\d+)", lambda m: f"see decision {int(m.group(1))}", text)


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, list[Setting]]]:
    """Yield every group of a tree of dataclasses: dotted prefix, instance, its own settings."""
    is_setting = importlib.import_module("slimecore.config").is_setting
    described = parameters(type(config).__doc__ or "")
    own, groups = [], []
    for field in dataclasses.fields(config):
        if not is_setting(field):
            continue
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            groups.append((f"{prefix}{field.name}.", value))
            continue
        kind, meaning = described.get(field.name, ("", ""))
        own.append(Setting(f"{prefix}{field.name}", kind or str(field.type), value, meaning))
    yield prefix, config, own
    for name, value in groups:
        yield from walk(value, name)


def value_text(value: Any) -> str:
    """Return a default as it is written in YAML."""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:.6g}`" if isinstance(value, float) else f"`{value}`"


def renamed(config: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield (old name, new name or empty) of the settings of one dataclass."""
    for old, new in dict(getattr(type(config), "RENAMED", {})).items():
        yield f"{prefix}{old}", f"{prefix}{new}" if new else ""


def preset_table() -> list[str]:
    """Return the table of settings in which the video presets differ."""
    module = importlib.import_module("slimevid.config")
    flat = importlib.import_module("slimecore.config").flat
    to_dict = importlib.import_module("slimecore.config").to_dict
    presets: Mapping[str, Any] = module.PRESETS
    values = {name: flat(to_dict(module.preset(name))) for name in presets}
    names = list(dict.fromkeys(key for preset in presets.values() for key in flat(preset)))
    lines = ["| setting | " + " | ".join(f"`{name}`" for name in presets) + " |", "|---" * (len(presets) + 1) + "|"]
    return lines + [f"| `{key}` | " + " | ".join(value_text(values[p][key]) for p in presets) + " |" for key in names]


def settings_page() -> str:
    """Return the page of all settings."""
    sections, old_names, count = [], [], 0
    for title, module, kind, commands in SETTINGS:
        section = [f"## {title}", "", f"Settings of {commands}.", ""]
        for prefix, config, own in walk(getattr(importlib.import_module(module), kind)()):
            heading = f"`{prefix[:-1]}`" if prefix else "top level"
            if prefix:
                section += [
                    f"### {title}: {heading}",
                    "",
                    GROUP.get(prefix[:-1].split(".")[-1]) or first_line(config),
                    "",
                ]
            section += ["| setting | type | default | meaning |", "|---|---|---|---|"]
            section += [
                f"| `{s.name}` | {markdown(s.kind)} | {value_text(s.default)} | {markdown(s.meaning)} |" for s in own
            ]
            section.append("")
            count += len(own)
            old_names += [(title, old, new) for old, new in renamed(config, prefix)]
        if title == "Video":
            section += ["### Presets", "", "Settings that are not listed have their default in every preset.", ""]
            section += [*preset_table(), ""]
        sections += section
    head = f"""# Settings

Every setting has a dotted name. Give it on the command line with `--set NAME=VALUE`, or in a YAML file with
`--config FILE`:

```yaml
keyframe_interval: 1
memory:
  keys_per_frame: 1500
```

The order is: defaults, preset, file, `--set`. An unknown name is an error that says the nearest known one. Every
result folder holds `config.yaml` with all settings of its run. This page lists all {count} settings.
"""
    tail = ["## Old names", "", "Names before version 0.1 was finished. The decision records use them.", ""]
    tail += ["| | old | new |", "|---|---|---|"]
    tail += [f"| {title} | `{old}` | {f'`{new}`' if new else 'no longer a setting'} |" for title, old, new in old_names]
    return head + "\n" + "\n".join(sections) + "\n" + "\n".join(tail) + "\n"


def first_line(config: Any) -> str:
    """Return the summary of a dataclass as Markdown."""
    return markdown(inspect.cleandoc(type(config).__doc__ or "").split("\n\n")[0].replace("\n", " "))


def cli_page() -> str:
    """Return the page of all help texts."""
    names = [file.stem.removeprefix("help_").split("_") for file in HELP.glob("help_*.txt")]
    order = {"slimevid": 0, "slime": 1, "slime3d": 2}
    names.sort(key=lambda words: (order.get(words[0], 9), len(words) > 1, words != [words[0], "run"], words))
    lines = [
        "# Command line",
        "",
        "Exit status: 0 done, 1 failed, 2 wrong use or bad input. Every error is one line that says what is wrong,",
        "where, and what to do. `--debug` shows the traceback. The texts below are what `--help` prints.",
        "",
    ]
    for words in names:
        text = (HELP / f"help_{'_'.join(words)}.txt").read_text(encoding="utf-8").rstrip()
        lines += [f"{'##' if len(words) == 1 else '###'} `{' '.join(words)}`", "", "```text", text, "```", ""]
    return "\n".join(lines)


def public_names(package: str) -> dict[str, str]:
    """Return the public names of a package and the modules that define them, without importing it where possible."""
    tree = ast.parse((PACKAGES[package] / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Call) and value.args:  # MappingProxyType({...})
            value = value.args[0]
        if isinstance(value, ast.Dict) and len(value.keys) > 2:
            table = ast.literal_eval(value)
            if all(isinstance(item, str) for pair in table.items() for item in pair):
                names = {name: absolute(package, home) for name, home in sorted(table.items())}
                return {name: home for name, home in names.items() if defined(package, home, name)}
    module = importlib.import_module(package)
    return {name: getattr(module, name).__module__ for name in sorted(module.__all__)}


def defined(package: str, home: str, name: str) -> bool:
    """Return whether a module defines a name, and say so on stderr if it does not."""
    path = PACKAGES[package].joinpath(*home.split(".")[1:])
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    if re.search(
        rf"^(?:def|class) {name}\b|^{name}\b|\b{name}\b.*# noqa: F401", file.read_text(encoding="utf-8"), re.MULTILINE
    ):
        return True
    print(f"{package}.{name}: {home} does not define it; left out of the page", file=sys.stderr)
    return False


def absolute(package: str, home: str) -> str:
    """Return the full name of a module given relative to its package or in full."""
    home = home.lstrip(".")
    return home if home == package or home.startswith(f"{package}.") else f"{package}.{home}"


def api_page(package: str) -> str:
    """Return the page of a package's public names for mkdocstrings."""
    names = public_names(package)
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Settings": [], "Errors": []}
    for name in names:
        if name.endswith("Config") or name == "ModelSpec":
            kinds["Settings"].append(name)
        elif name.endswith("Error") or name == "UnknownPlugin":
            kinds["Errors"].append(name)
        else:
            kinds["Classes" if name[0].isupper() else "Functions"].append(name)
    summary = (
        inspect.cleandoc(ast.get_docstring(ast.parse((PACKAGES[package] / "__init__.py").read_text())) or "")
    ).split("\n")[0]
    lines = [f"# {TITLES[package]}: `{package}`", "", summary, "", f"Import these names from `{package}`.", ""]
    for kind, members in kinds.items():
        if members:
            lines += [f"## {kind}", ""]
        for name in members:
            lines += [
                f"::: {names[name]}.{name}",
                "    options:",
                f"      heading: {name}",
                f"      toc_label: {name}",
                "",
            ]
    return "\n".join(lines)


def records() -> Iterator[tuple[int, str, str, str, str]]:
    """Yield number, file name, title, status and outcome of every decision record."""
    for file in sorted((DOCS / "adr").glob("[0-9]*.md")):
        text = file.read_text(encoding="utf-8")
        title = re.search(r"^# (\d+)\. (.+)$", text, re.MULTILINE)
        outcome = re.search(r"^Outcome: (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
        status = re.search(r"^Status: (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if title is None or outcome is None or status is None:
            raise SystemExit(
                f"{file.relative_to(ROOT)}: needs a title '# N. ...', a line 'Status: ...' and a line 'Outcome: ...'"
            )
        yield int(title[1]), file.name, title[2], " ".join(status[1].split()), " ".join(outcome[1].split())


def decisions_page() -> str:
    """Return the index of the decision records."""
    lines = [
        "# Decisions",
        "",
        "Each record says why something is as it is, what was tried, and what it is worth. Records keep the names of",
        "settings and modules of their day. [Old names](reference/settings.md#old-names) lists what settings are",
        "called now.",
        "",
        "| | decision | outcome |",
        "|---|---|---|",
    ]
    for number, file, title, status, outcome in records():
        replaced = re.search(r"replaced by \[record (\d+)\]", status)
        note = f" Replaced in part by {replaced[1]}." if replaced else ""
        lines.append(f"| {number} | [{title}](adr/{file}) | {outcome}{note} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return every generated page and its text."""
    made = {
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "reference" / "cli.md": cli_page(),
        DOCS / "decisions.md": decisions_page(),
    }
    made |= {DOCS / "reference" / "api" / f"{name}.md": api_page(name) for name in PACKAGES}
    written = {file: NOTE + text.rstrip() + "\n" for file, text in made.items()}
    return written | {DOCS / "images" / "house.svg": house_svg(ROOT)}


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a page is stale")
    check = parser.parse_args().check
    sys.path[:0] = [str(ROOT), str(ROOT / "common")]
    stale = 0
    for file, text in pages().items():
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{file.relative_to(ROOT)} is stale: run python scripts/make_docs.py", file=sys.stderr)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
