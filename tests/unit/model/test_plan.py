"""A plan in print and as JSON: one numbering for both, and for the messages of the static program."""

import json

from volt.model.plan import LaunchPlan
from volt.model.steps import ClaimRun, Execute, MakeFolder, ProtectInit
from volt.model.text import RUN, text

PLAN = LaunchPlan(
    name="web",
    mode="container",
    host=(ClaimRun(folder=text("/run/volt")), MakeFolder(path=text("/run/volt/", RUN), note="its own")),
    guard=(Execute(argv=(text("nspawn"),), env=()),),
    init=(ProtectInit(),),
    payload=(Execute(argv=(text("true"),), env=()),),
    inherited=("control",),
    notes=("worth knowing",),
)

PRINTED = """\
web: container

on the host, as the supervisor
   1 claim-run          folder=/run/volt
   2 make-folder        path=/run/volt/{run}   # its own

in a pid and a mount namespace of its own
   3 execute            argv=[nspawn]

inside, as the init
   4 protect-init      \x20

inside, as the payload
   5 execute            argv=[true]

note: worth knowing
"""


def test_a_plan_is_printed_step_by_step():
    assert [line.rstrip() for line in str(PLAN).splitlines()] == [line.rstrip() for line in PRINTED.splitlines()]
    assert str(PLAN).endswith("\n")


def test_a_plan_as_json_has_the_numbers_of_the_printed_form():
    document = json.loads(json.dumps(PLAN.document()))
    assert (document["version"], document["name"], document["mode"]) == (1, "web", "container")
    numbers = [step["number"] for section in document["sections"] for step in section["steps"]]
    assert numbers == [1, 2, 3, 4, 5]
    assert document["sections"][2]["steps"] == [{"number": 4, "operation": "protect-init", "note": ""}]
    assert (document["inherited"], document["notes"]) == (["control"], ["worth knowing"])


def test_the_steps_come_in_the_order_of_their_numbers():
    assert [step.name for step in PLAN.steps()] == ["claim-run", "make-folder", "execute", "protect-init", "execute"]
