"""The house rules that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/watchdog"
PACKAGE = LAYER / "batch_watchdog"

# What gathers, keeps and carries out (as each module called …_watch does), and so knows AWS.
# All else decides, and is pure.
WITH_AWS = {
    "act",
    "batch_api",
    "console",
    "dead_letters",
    "inquiry",
    "limit_discovery",
    "limit_record",
    "observe",
    "policies",
    "recorder",
    "settings",
    "spend",
    "stop_queue",
    "stop_run",
    "store",
    "sweep",
    "wiring",
}


def pure_modules() -> list[str]:
    paths = [path.relative_to(LAYER).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(
        ".".join(path.parts).removesuffix(".__init__")
        for path in paths
        if path.parts[1] not in WITH_AWS and not path.name.endswith("_watch")
    )


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
