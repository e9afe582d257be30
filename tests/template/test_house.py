"""The house rules that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/watchdog"
PACKAGE = LAYER / "batch_watchdog"

LINES_MAX = 350  # of a module
CLASS_LINES_MAX = 150

# The names of modules that call AWS or write to the table. All else decides, and is pure.
CALLERS = {
    "announcer",
    "array_tags",
    "arrivals",
    "counting",
    "decisions",
    "discovery",
    "ends",
    "gather",
    "items",
    "listing",
    "loader",
    "open_arrays",
    "queue_updates",
    "session",
    "stay_check",
    "stop_check",
    "stop_results",
    "stopping",
    "unfinished",
    "workflow",
}
FOLDERS_OF_CALLERS = {"aws", "store", "use_cases"}


def modules() -> dict[str, Path]:
    """The package's modules, by their dotted names."""
    return {
        ".".join(path.relative_to(LAYER).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def is_caller(name: str) -> bool:
    folder, last = name.split(".")[1:2], name.rpartition(".")[2]
    return (
        bool(FOLDERS_OF_CALLERS & set(folder))
        or last in {*CALLERS, "wiring"}
        or last.endswith("_items")
    )


def pure_modules() -> list[str]:
    return [name for name in modules() if not is_caller(name)]


def imports() -> dict[str, set[str]]:
    """Which modules of the package each of them imports."""
    known = modules()
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                every = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {node.module, *every} & known.keys() - {name}
    return found


def folder_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def circle_in(graph: dict[str, set[str]]) -> set[str]:
    """What is left when all that imports nothing of the rest is taken away, again and again."""
    left = dict(graph)
    while leaves := [name for name, used in left.items() if not used & left.keys() - {name}]:
        for name in leaves:
            del left[name]
    return set(left)


def live_files() -> Iterator[Path]:
    """The code that runs in Lambda."""
    yield from PACKAGE.rglob("*.py")
    yield from ROOT.glob("functions/*/*.py")


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def names_used(path: Path) -> Iterator[str]:
    """Dotted names as the file writes them: `os.environ`, `datetime.now`, `print`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                yield f"{owner}.{name}"
            case ast.Attribute(attr=name):
                yield f"?.{name}"
            case ast.Name(id=name):
                yield name
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def reads_the_clock(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today")):
                return True
            case ast.ImportFrom(module="time", names=names) if [n.name for n in names] != ["sleep"]:
                return True
            case ast.Import(names=names) if any(alias.name == "time" for alias in names):
                return True
            case _:
                pass
    return False


IMPORT_ONE_BY_ONE = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    if seen := {"boto3", "botocore", "aws_lambda_powertools"} & sys.modules.keys():
        sys.exit(f"{module} brings along {seen}")
"""


def test_importing_what_decides_loads_neither_boto3_nor_powertools() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", IMPORT_ONE_BY_ONE, *pure_modules()],
        cwd=LAYER,
        env={},
        check=False,
        capture_output=True,
        text=True,
    )

    assert "batch_watchdog.policy" in pure_modules()
    assert (done.returncode, done.stderr) == (0, "")


def test_rules_import_neither_the_table_nor_aws() -> None:
    wrong = {
        (name, used)
        for name, every in imports().items()
        for used in every
        if not is_caller(name) and is_caller(used)
    }

    assert not wrong


def test_only_the_wiring_imports_use_cases() -> None:
    importers = {
        name
        for name, every in imports().items()
        if folder_of(name) != "use_cases" and any(folder_of(used) == "use_cases" for used in every)
    }

    assert importers == {"batch_watchdog.wiring"}


def test_a_feature_imports_of_another_only_what_that_offers() -> None:
    wrong = set()
    for name, every in imports().items():
        for used in every:
            feature = folder_of(used)
            if folder_of(name) in {feature, "use_cases", "wiring"} or not feature:
                continue
            offers = getattr(import_module(f"batch_watchdog.{feature}"), "OFFERS", None)
            if (
                offers is not None
                and used.split(".", 2)[2:]
                and used.split(".", 2)[2] not in offers
            ):
                wrong.add((name, used))

    assert not wrong


def test_imports_have_no_circle() -> None:
    between: dict[str, set[str]] = {}
    for name, every in imports().items():
        between.setdefault(folder_of(name), set()).update(map(folder_of, every))

    assert not circle_in(imports())
    assert not circle_in(between)


def test_modules_and_classes_are_read_in_one_sitting() -> None:
    long = {
        name for name, path in modules().items() if len(path.read_text().splitlines()) > LINES_MAX
    }
    long |= {
        f"{name}.{node.name}"
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and (node.end_lineno or 0) - node.lineno >= CLASS_LINES_MAX
    }

    assert not long


def test_nothing_that_runs_in_lambda_reads_the_clock_but_the_wiring() -> None:
    readers = {path for path in live_files() if reads_the_clock(ast.parse(path.read_text()))}

    assert readers == {PACKAGE / "wiring.py"}


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        path.name
        for path in live_files()
        for name in names_used(path)
        if name.startswith(("os.environ", "os.getenv"))
    }

    assert readers == {"settings.py"}


def test_errors_are_caught_by_name() -> None:
    handlers = [
        (path.name, node)
        for path in tracked_files()
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
    ]
    too_broad = [
        (name, handler.lineno)
        for name, handler in handlers
        if handler.type is None
        or {"Exception", "BaseException"}
        & {part.id for part in ast.walk(handler.type) if isinstance(part, ast.Name)}
    ]

    assert not too_broad


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    # In pieces, so that this file may name them.
    unwelcome = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "npm" + "js.org",
        "crates" + ".io",
        "maven" + ".org",
        "golang" + ".org",
        "debian" + ".org",
        "/ro" + "ot/",
        "/ho" + "me/",
        "/wo" + "rk/",
        "/t" + "mp/",
    ]

    found = [
        (path.relative_to(ROOT).as_posix(), word)
        for path in tracked_files()
        for word in unwelcome
        if word.encode() in path.read_bytes()
    ]

    assert not found
