"""A booted image as a plan has it: what process 1 is, how it ends, the unit of a command, what is refused."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS, GOOD, codes
from tests.unit.plan.test_explain import planned, said_of
from volt.errors import HostUnfit
from volt.model.facts import Boot, Call, ImageFact, Modules, PathFact
from volt.model.modes import Mode, WritableLayerMode
from volt.model.part import FILES
from volt.model.policy import Policy
from volt.model.sizes import Duration
from volt.model.steps import (
    Execute,
    ExpectInit,
    LoadModules,
    LockMount,
    MakeFile,
    MakeMachineId,
    MakeRuleset,
    MemoryFile,
    NoNewPrivileges,
    OpenNull,
    OpenTerminal,
    SetLimit,
    StartGuard,
    StartInit,
    StartPayload,
    StopBy,
)
from volt.model.text import show
from volt.model.workload import Kernel, Ready, Security, Service, Storage, User, Volume
from volt.plan.boot import COMMAND, LOGINS, UNITS
from volt.plan.kernel import check_kernel

FOLDER = PathFact("folder", device=1, inode=2, uid=5000, gid=5000, filesystem="ext4", idmappable=True)
SYSTEMD = Boot("usr/lib/systemd/systemd", "usr/lib/systemd/systemd", "6.18.0 #1 SMP")
NEW = replace(FACTS, kernel=(6, 18), kernel_release="6.18.0", landlock_abi=7, boot=SYSTEMD, paths={"/srv/os": FOLDER})
OS = replace(
    GOOD,
    mode=Mode.HYBRID_NATIVE,
    command=(),
    storage=Storage(rootfs="/srv/os", writable_layer=WritableLayerMode.TMPFS),
)


def found(steps, kind):
    return [step for step in steps if isinstance(step, kind)]


def argv(plan):
    """The words of process 1."""
    (execute,) = found(plan.payload, Execute)
    return [show(word) for word in execute.argv]


def unit(*command, workload=OS, facts=NEW, call=None):
    """The lines of the unit that runs a command."""
    plan = planned(replace(workload, command=command), facts, call)
    (file,) = [step for step in found(plan.guard, MakeFile) if show(step.path) == f"{FILES}/{COMMAND}"]
    return "".join(str(part) for part in file.content).split("\n")


def test_process_1_is_the_images_own_init_and_no_payload_is_started():
    plan = planned(OS, NEW)
    assert argv(plan)[0] == "/usr/lib/systemd/systemd"
    assert found(plan.init, StartInit)
    assert not found(plan.init, StartPayload)
    assert found(plan.host, ExpectInit)


def test_its_console_is_shown_and_typed_into_only_when_that_is_asked_for():
    for call, typed in ((Call(), False), (Call(terminal=7), False), (Call(terminal=7, interactive=True), True)):
        plan = planned(OS, NEW, call)
        (terminal,) = found(plan.init, OpenTerminal)
        assert (terminal.console, terminal.input) == (True, typed)
        assert ("systemd.mask=console-getty.service" in argv(plan)) != typed


@pytest.mark.parametrize(
    ("program", "number"),
    [("usr/lib/systemd/systemd", 37), ("bin/busybox", 12), ("sbin/openrc-init", 15), ("sbin/init", 30)],
)
def test_each_init_is_asked_to_end_in_its_own_way(program, number):
    (stop,) = found(planned(OS, replace(NEW, boot=Boot("sbin/init", program))).host, StopBy)
    assert stop.signal == number


def test_what_the_manifest_says_of_stopping_counts():
    service = Service(stop_signal="USR1", stop_timeout=Duration(3000))
    (stop,) = found(planned(replace(OS, service=service), NEW).host, StopBy)
    assert (stop.signal, stop.milliseconds) == (10, 3000)


def test_the_kernel_command_line_is_the_inits():
    assert argv(planned(replace(OS, kernel=Kernel(cmdline="systemd.unit=a.target quiet")), NEW))[-2:] == [
        "systemd.unit=a.target",
        "quiet",
    ]


def test_landlock_holds_no_files_since_an_init_mounts():
    (rules,) = found(planned(OS, NEW).init, MakeRuleset)
    assert (rules.files, rules.scopes) == ((), ("abstract_unix_socket", "signal"))


def test_a_profile_that_requires_files_is_refused_by_name():
    strict = replace(OS, security=Security(landlock_profile="strict", capabilities=("SYS_ADMIN",)))
    with pytest.raises(HostUnfit, match="an init has to mount") as refused:
        planned(strict, NEW)
    assert 'mode = "container"' in refused.value.hint
    planned(strict, NEW, Call(waived=("landlock",)))


def test_no_new_privileges_where_asked_for_and_where_a_filter_needs_it():
    assert not found(planned(OS, NEW).payload, NoNewPrivileges)
    assert found(planned(replace(OS, security=Security(no_new_privs=True)), NEW).payload, NoNewPrivileges)
    other = replace(NEW, boot=Boot("sbin/init", "bin/busybox"))
    assert found(planned(replace(OS, security=Security(capabilities=("KILL",))), other).payload, NoNewPrivileges)


@pytest.mark.parametrize(("mode", "capabilities"), [(Mode.HYBRID_NATIVE, None), (Mode.CONTAINER, ("SYS_ADMIN",))])
def test_mounts_of_the_hosts_are_locked_where_root_inside_may_mount(mode, capabilities):
    volume = Volume("/srv/data", "/data", readonly=True)
    facts = replace(NEW, paths={"/srv/os": FOLDER, "/srv/data": FOLDER})
    storage = replace(OS.storage, volumes=(volume,))
    workload = replace(OS, mode=mode, command=("sh",), storage=storage)
    given_all = replace(workload, security=Security(landlock_profile="permissive", capabilities=capabilities))
    (lock,) = found(planned(given_all, facts).guard, LockMount)
    assert lock.note == "volume /data"
    assert not found(planned(replace(workload, mode=Mode.CONTAINER), facts).guard, LockMount)


def test_the_machine_id_lies_beside_a_kept_layer():
    kept = replace(OS, storage=Storage(rootfs="/srv/os"))
    assert [show(step.path) for step in found(planned(kept, NEW).host, MakeMachineId)] == [
        f"{NEW.folders.state}/layers/{kept.name}/machine-id"
    ]
    for plan in (planned(OS, NEW), planned(kept, NEW, Call(discard=True))):
        assert found(plan.guard, MakeMachineId), "with the run"


# ── modules of the kernel ───────────────────────────────────────────────────────────────────────

PERMITTED = Policy(kernel_modules=("loop", "fuse", "dummy", "zfs"))
HAD = Modules("/sbin/modprobe", ("fuse",), {"loop": "/lib/modules/6.18.0/loop.ko.xz"}, ("zfs",))


def asking(*names, modules=HAD):
    """A boot that asks for modules of the kernel, and a machine that has some."""
    return replace(OS, kernel=Kernel(modules=names)), replace(
        NEW, policy=PERMITTED, boot=replace(SYSTEMD, modules=modules)
    )


def test_modules_are_loaded_last_before_the_boot_but_those_that_are_part_of_the_kernel():
    plan = planned(*asking("loop", "fuse", "zfs", "loop"))
    (step,) = found(plan.host, LoadModules)
    assert ([show(name) for name in step.modules], show(step.program)) == (["loop", "zfs"], "/sbin/modprobe")
    assert {type(one) for one in plan.host[plan.host.index(step) + 1 :]} == {OpenNull, MemoryFile, StartGuard}
    assert not found(planned(*asking("fuse")).host, LoadModules)
    assert not found(planned(*asking(modules=None)).host, LoadModules)


def test_a_container_loads_none():
    workload, facts = asking("loop")
    plan = planned(replace(workload, mode=Mode.CONTAINER, command=("x",)), facts)
    assert not found(plan.host, LoadModules)
    assert "kernel.modules: ignored in container mode" in plan.notes


def test_a_module_that_there_is_not_is_a_finding_with_what_to_install():
    workload, facts = asking("loop", "dummy")
    assert codes(workload, facts) == [("no-module", "kernel.modules[1]")]
    (finding,) = check_kernel(workload, facts)
    assert "6.18.0, has no module dummy" in finding.message
    assert "apt install linux-image-6.18.0" in finding.hint
    workload, facts = asking("loop", "zfs", modules=Modules(loaded=("zfs",)))
    (finding,) = check_kernel(workload, facts)
    assert (finding.key, finding.hint) == ("kernel.modules[0]", "apt install kmod")


def test_it_is_said_what_is_loaded_and_stays():
    (shared,) = [one for one in said_of(planned(*asking("loop", "zfs"))).sections if one.subject == "shared"]
    text = "The kernel modules loop and zfs: loaded before it starts if need be, and left so."
    assert text in [one.text for one in shared.statements]


# ── the unit of a command ───────────────────────────────────────────────────────────────────────


def test_a_command_is_what_is_started_in_the_place_of_the_default_target():
    plan = planned(replace(OS, command=("make", "all")), NEW)
    assert f"systemd.unit={COMMAND}" in argv(plan)
    assert [show(step.path) for step in plan.init if getattr(step, "mount", "") == COMMAND] == [f"{UNITS}/{COMMAND}"]
    lines = unit("make", "all")
    assert "ExecStart=make all" in lines
    assert {f"Wants={LOGINS}", f"After={LOGINS}"} <= {*lines}, "a user may log in to what the command serves"
    assert "StandardInput=tty" not in lines
    typed = unit("make", call=Call(terminal=7, interactive=True))
    assert "StandardInput=tty" in typed
    assert {"SuccessAction=exit", "FailureAction=exit"} <= {*lines}


def test_the_unit_says_what_the_manifest_does():
    workload = replace(OS, user=User(1000, 1001), workdir="/a 100%", env={"A": "b c"}, limits={"nofile": (1, 2)})
    lines = unit("x", workload=workload)
    wanted = {"User=1000", "Group=1001", "WorkingDirectory=/a 100%%", 'Environment="A=b c"', "LimitNOFILE=1:2"}
    assert wanted <= {*lines}


def test_a_limit_that_systemd_complains_of_is_the_units_alone():
    workload = replace(OS, limits={"core": (0, 0), "nofile": (1, 2)})
    plans = [planned(replace(workload, command=command), NEW) for command in ((), ("x",))]
    assert [[step.resource for step in found(plan.payload, SetLimit)] for plan in plans] == [
        ["core", "nofile"],
        ["nofile"],
    ]
    assert "LimitCORE=0:0" in unit("x", workload=workload)


def test_a_command_has_the_images_variables_and_then_the_manifests():
    image = ImageFact("workload.image", env=("PATH=/opt/x", "LANG=C"))
    facts = replace(NEW, image=replace(image, digest="0" * 64, file="/i", objects="/o", leases="/l", filesystem="ext4"))
    workload = replace(OS, env={"LANG": "de"}, storage=replace(OS.storage, rootfs="cas://sha256:" + "0" * 64))
    lines = [line for line in unit("x", workload=workload, facts=facts) if line.startswith("Environment=")]
    assert lines.index("Environment=LANG=C") < lines.index("Environment=LANG=de")
    assert "Environment=PATH=/opt/x" in lines


# ── what is refused ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("workload", "boot", "code"),
    [
        (replace(OS, mode=Mode.CONTAINER, command=("x",), boot=True), SYSTEMD, "wrong-mode"),
        (replace(OS, boot=False), SYSTEMD, "wrong-mode"),
        (OS, Boot(), "no-init"),
        (replace(OS, command=("x",)), Boot("sbin/init", "bin/busybox"), "no-command"),
        (replace(OS, env_file="/srv/os"), SYSTEMD, "wrong-mode"),
        (replace(OS, kernel=Kernel(version="6.12")), SYSTEMD, "other-kernel"),
        (replace(OS, kernel=Kernel(path="/boot/vmlinuz")), SYSTEMD, "other-kernel"),
        (replace(OS, kernel=Kernel(modules=("loop",))), SYSTEMD, "beyond-policy"),
        (replace(OS, kernel=Kernel(modules=("loop",))), SYSTEMD, "no-module"),
        (replace(OS, command=("-x",)), SYSTEMD, "no-command"),
        (replace(OS, command=("x", "\udcff")), SYSTEMD, "no-command"),
        (replace(OS, command=("x",), workdir="/a\nUser=0"), SYSTEMD, "no-command"),
        (replace(OS, command=("x",), workdir="/a\\"), SYSTEMD, "no-command"),
        (replace(OS, command=("x",), env={"A": "\udcff"}), SYSTEMD, "no-command"),
        (replace(OS, security=Security(seccomp_profile="strict")), SYSTEMD, "wrong-mode"),
        (replace(OS, security=Security(capabilities=("KILL",))), SYSTEMD, "wrong-mode"),
    ],
)
def test_what_cannot_be_booted_is_a_finding(workload, boot, code):
    assert code in [found for found, _ in codes(workload, replace(NEW, boot=boot))]


def test_input_without_a_terminal_is_refused():
    assert [code for code, _ in codes(OS, NEW, Call(interactive=True, terminal=6))] == ["wrong-mode"]
    assert codes(OS, NEW, Call(interactive=True, terminal=7)) == []


def test_a_watchdog_that_nobody_feeds_is_refused():
    service = Service(ready=Ready("notify"), watchdog=Duration(5000))
    assert ("no-notify", "service.watchdog") in codes(replace(OS, service=service), NEW)


def test_a_good_one_has_none():
    assert codes(OS, NEW) == []
    same = replace(NEW, boot=replace(SYSTEMD, named=SYSTEMD.kernel))
    assert codes(replace(OS, boot=True, kernel=Kernel(version=">=6.1", path="/boot/vmlinuz")), same) == []
