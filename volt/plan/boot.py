"""An image that is booted, its own init as process 1: what of a plan differs from a command's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from volt.backends.native import SYSTEMD, kind_of
from volt.errors import VoltError
from volt.model.facts import Call, Facts
from volt.model.findings import Finding
from volt.model.part import FILES, Part
from volt.model.steps import NO_LIMIT, CloneMount, Execute, MakeMachineId, Open, SetMount, Step
from volt.model.text import show, text
from volt.model.values import replace
from volt.model.workload import Workload
from volt.plan import environment
from volt.plan.capabilities import payload_sets
from volt.plan.kernel import check_kernel
from volt.plan.mounts import Mount, file_mount
from volt.plan.root import layer_folder
from volt.plan.unit_text import argument, folder
from volt.plan.users import Identity

# Output alone, or all three: bits of a call's terminal.
SHOWN, TYPED = 0b110, 0b111
# kernel-command-line(7): in a container systemd reads it from its own command line.
MASK = "systemd.mask="
MACHINE_ID = "/etc/machine-id"
COMMAND = "volt-command.service"
LOGINS = "systemd-user-sessions.service"
UNITS = "/run/systemd/system"
PREFIXES = tuple("@-:+!|")  # systemd.service(5), "Command lines"


def on_console(call: Call) -> Call:
    """The call with the init's console as its terminal: typed into where the caller asks for that, by -i and -t."""
    typed = call.interactive and call.terminal & 1
    return replace(call, terminal=TYPED) if typed else replace(call, terminal=SHOWN, term="dumb")


def check_boot(workload: Workload, facts: Facts, call: Call) -> Iterator[Finding]:
    """What a booted image cannot be asked for."""
    if workload.boot and not workload.boots:
        message = f"an image is booted in mode hybrid-native, not in {workload.mode}"
        yield Finding("wrong-mode", "workload.boot", message, 'write mode = "hybrid-native", or remove boot')
    if not workload.boots:
        return
    if workload.boot is False:
        message, hint = "hybrid-native boots the image's own init", 'remove boot, or write mode = "container"'
        yield Finding("wrong-mode", "workload.boot", message, hint)
    if workload.storage.rootfs and not facts.boot.init:
        hint = 'install one there (apt install systemd-sysv), or write mode = "container"'
        yield Finding("no-init", "workload.mode", "the root has no init that could be booted", hint)
    elif (workload.command or call.command) and kind_of(facts) != SYSTEMD:
        message = f"a command is a unit of systemd's, and the image's init is /{facts.boot.program}"
        yield Finding("no-command", "workload.command", message, 'remove it, or write mode = "container"')
    elif call.command or workload.command:
        yield from _check_command(workload, call)
    if call.interactive and not call.terminal & 1:
        message = "-i: what is typed comes from the console, which is a terminal"
        yield Finding("wrong-mode", "workload.mode", message, "add -t, or remove -i")
    if "SYS_ADMIN" not in payload_sets(workload, 0).bounding and kind_of(facts) == SYSTEMD:
        key = "security.seccomp_profile" if workload.security.capabilities is None else "security.capabilities"
        message = "the image's init is systemd, which mounts, and has no SYS_ADMIN here"
        yield Finding("wrong-mode", key, message, "list it, with what else the image needs, in capabilities")
    yield from check_kernel(workload, facts)
    if workload.env_file:
        message = "what an init has in its environment is not passed on to what it starts"
        yield Finding("wrong-mode", "workload.env_file", message, "write EnvironmentFile= in the service's own unit")


def boot_notes(workload: Workload, call: Call) -> Iterator[str]:
    """What is not as in container mode, and cannot be."""
    yield (
        "workload.mode = hybrid-native: root inside mounts, and so uncovers what is covered below /proc, /sys and /dev"
        ": what of it is the host's is held by modes and owners"
    )
    yield "storage.shm_size, storage.tmpfs: sizes that root inside may change; memory_limit holds all of it"
    if workload.user and not (call.command or workload.command):
        yield "workload.user: an init is root's; it counts for a command"


def _check_command(workload: Workload, call: Call) -> Iterator[Finding]:
    """What no unit of systemd can say."""
    command, variables = call.command or workload.command, {**workload.env, **dict(call.env)}
    if command[0][:1] in PREFIXES:
        message = f"systemd takes the first character of {command[0]} for something else"
        yield Finding("no-command", "workload.command", message, "write a path before it: ./ or /")
    for word in command:
        yield from _unsaid("workload.command", argument, word)
    for name, value in variables.items():
        yield from _unsaid("workload.env", argument, f"{name}={value}")
    yield from _unsaid("workload.workdir", folder, workload.workdir or "/")


def _unsaid(key: str, say: Callable[[str], str], word: str) -> Iterator[Finding]:
    try:
        say(word)
    except VoltError as error:
        yield Finding("no-command", key, error.message, error.hint or "")


# ── process 1 ───────────────────────────────────────────────────────────────────────────────────


def init_execute(workload: Workload, call: Call, identity: Identity, facts: Facts) -> Execute:
    """The exec of the image's init."""
    return Execute(
        argv=tuple(text(word) for word in _argv(workload, call, facts)),
        env=(*environment.given(workload, call), text("container=systemd-nspawn")),
        defaults=environment.defaults(workload, identity, call, facts.image),
        note="the image's own init",
    )


def _argv(workload: Workload, call: Call, facts: Facts) -> Iterator[str]:
    yield f"/{facts.boot.init}"
    if kind_of(facts) == SYSTEMD:
        yield from _options(bool(call.command or workload.command), typed=bool(call.terminal & 1))
    yield from (workload.kernel.cmdline or "").split()


def _options(command: bool, *, typed: bool) -> Iterator[str]:
    """kernel-command-line(7) of systemd. What it says goes to the console, and from there to the log."""
    yield f"{MASK}systemd-machine-id-commit.service"  # the id is a mount, kept beside the layer
    if not typed:
        yield f"{MASK}console-getty.service"  # nobody types there
        yield from ("systemd.show_status=no", "systemd.log_color=no")  # the journal has it, and is shown
    if command:
        yield from (f"systemd.unit={COMMAND}", "quiet", "systemd.log_level=warning")
    elif not typed:
        yield "systemd.journald.forward_to_console=yes"


# ── what is mounted for it ──────────────────────────────────────────────────────────────────────


def boot_mounts(workload: Workload, facts: Facts, identity: Identity, call: Call) -> tuple[Mount, ...]:
    """What an init finds besides what every workload does."""
    own = Mount(MACHINE_ID, "machine-id", False, _machine_id(workload, facts, call))
    if not (call.command or workload.command):
        return (own,)
    unit = "\n".join(_unit(workload, facts, identity, call)) + "\n"
    return own, file_mount(workload, f"{UNITS}/{COMMAND}", text(unit))


def _machine_id(workload: Workload, facts: Facts, call: Call) -> Part:
    """machine-id(5), the layer's own as long as that is kept, else the run's: what images bring along many have."""
    kept = workload.kept and not call.discard
    path = f"{layer_folder(workload, facts)}/machine-id" if kept else f"{FILES}/machine-id"
    steps: tuple[Step, ...] = (
        MakeMachineId(path=text(path), note=MACHINE_ID),
        Open(path=text(path), to="machine-id:source"),
        CloneMount(source="machine-id:source", to="machine-id"),
        SetMount(mount="machine-id", attrs=("ro", "nosuid", "nodev", "noexec")),
    )
    return Part(host=steps) if kept else Part(guard=steps)


def _unit(workload: Workload, facts: Facts, identity: Identity, call: Call) -> Iterator[str]:
    """systemd.service(5), systemd.exec(5). systemd then ends with the command's status, and the run with systemd's."""
    yield from ("[Unit]", f"Description=The command of the workload {workload.name}")
    yield from ("SuccessAction=exit", "FailureAction=exit")
    # Until it has run, pam_nologin(8) lets nobody but root in; where it is missing nothing waits.
    yield from (f"Wants={LOGINS}", f"After={LOGINS}")
    yield from ("[Service]", f"ExecStart={' '.join(argument(word) for word in call.command or workload.command)}")
    if call.terminal & 1:
        yield "StandardInput=tty"
    yield from ("StandardOutput=tty", "StandardError=tty", f"WorkingDirectory={folder(workload.workdir or '/')}")
    if workload.user:
        yield from (f"User={identity.uid}", f"Group={identity.gid}")
        yield f"SupplementaryGroups={' '.join(map(str, identity.groups))}"
    for variable in _variables(workload, facts, identity, call):
        yield f"Environment={argument(variable, dollars=False)}"
    for name, (soft, hard) in sorted(workload.limits.items()):
        yield f"Limit{name.upper()}={_limit(soft)}:{_limit(hard)}"
    if workload.security.no_new_privs:
        yield "NoNewPrivileges=yes"


def _variables(workload: Workload, facts: Facts, identity: Identity, call: Call) -> Iterator[str]:
    """Those of every payload; systemd hands on none of its own."""
    yield from (show(one) for one in environment.defaults(workload, identity, call, facts.image))
    yield from (f"{name}={value}" for name, value in {**workload.env, **dict(call.env)}.items())


def _limit(value: int) -> str:
    return "infinity" if value == NO_LIMIT else str(value)
