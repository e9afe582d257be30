"""Rules of the operator's page broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_PAGE = ("tests/unit/use_cases/test_page.py",)
_MAP = ("tests/unit/page/test_heat_map.py",)
_VIEWER = ("tests/unit/page/test_viewer.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "what a template is given is escaped",
        "page/html.py",
        "autoescape=True",
        "autoescape=False",
        _PAGE,
    ),
    Mutant(
        "a page that would be too large says so",
        "page/html.py",
        "if len(page) > ANSWER_MAX:",
        "if False:",
        _PAGE,
    ),
    Mutant(
        "each action of a page has an id of its own",
        "page/html.py",
        'return f"{iso(self.now)}/{self.request}/{next(self._actions)}"',
        'return f"{iso(self.now)}/{self.request}/1"',
        _PAGE,
    ),
    Mutant(
        "each drawing of a page has actions of its own",
        "page/html.py",
        'return f"{iso(self.now)}/{self.request}/{next(self._actions)}"',
        'return f"{iso(self.now)}/x/{next(self._actions)}"',
        _PAGE,
    ),
    Mutant(
        "an action of an old page is not carried out",
        "use_cases/page.py",
        "if not -_CLOCKS_DIFFER <= now - drawn <= GOOD_FOR:",
        "if now < drawn - _CLOCKS_DIFFER:",
        _PAGE,
    ),
    Mutant(
        "an action of a page that is still to be drawn is not carried out",
        "use_cases/page.py",
        "if not -_CLOCKS_DIFFER <= now - drawn <= GOOD_FOR:",
        "if now - drawn > GOOD_FOR:",
        _PAGE,
    ),
    Mutant(
        "a page cannot say who its caller is",
        "use_cases/page.py",
        'command = dict(asked.act) | {"by": viewer.name, ',
        'command = {"by": viewer.name} | dict(asked.act) | {',
        _PAGE,
    ),
    Mutant(
        "the name that a viewer gives is marked as a claim",
        "page/viewer.py",
        "return f\"{claimed or 'somebody'} (by the page's word)\"",
        "return claimed or 'somebody'",
        _VIEWER,
    ),
    Mutant(
        "a zoom counts before the dashboard's range",
        "page/viewer.py",
        'end = _time(zoom.get("end")) or _time(range_.get("end")) or now',
        'end = _time(range_.get("end")) or now',
        _VIEWER,
    ),
    Mutant(
        "indices beyond an array are not drawn",
        "page/heat_map.py",
        "if 0 <= index < size:",
        "if index < size:",
        _MAP,
    ),
    Mutant(
        "a run of equal outcomes is one shape",
        "page/heat_map.py",
        "if size <= _APART_MAX:",
        "if True:",
        _MAP,
    ),
    Mutant(
        "what a stop left alone is told",
        "page/trail.py",
        'for reason, jobs in (result.get("not_meant") or {}).items():',
        "for reason, jobs in ():",
        ("tests/unit/page/test_trail.py",),
    ),
    Mutant(
        "a rule's tag problems make it no other rule",
        "page/tallies.py",
        'return label.partition(";")[0]',
        "return label",
        ("tests/unit/page/test_tallies.py",),
    ),
    Mutant(
        "an action that is asked for twice acts once",
        "use_cases/console.py",
        "if not fresh:",
        "if False:",
        _PAGE,
    ),
    Mutant(
        "a command is recorded with the request that brought it",
        "store/commands.py",
        '"request": request,',
        '"request": "",',
        _PAGE,
    ),
    Mutant(
        "the trail ends with the range that is asked for",
        "use_cases/page_trail.py",
        "left, first=iso(start), last=",
        'left, first=" ", last=',
        _PAGE,
    ),
)
