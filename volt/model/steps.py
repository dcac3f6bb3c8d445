"""The table of operations: every kernel operation that a launch plan can contain.

One definition gives the Python types here, the printed form (`volt plan`), the binary form
(volt.launch.encode) and the C header (volt/native/generate.py). An operation is a class below;
its fields are the arguments in order, its docstring says what the static program does, its
`calls` name the system calls that change something outside the process, and its `undo` says what
takes the change back when a later step fails, its `release` what does so when the run is over. What
is done `once` holds as long as the run; all else is undone and done again where restart-by has the
payload started anew.
"""

from __future__ import annotations

import base64
import hashlib
from typing import ClassVar, dataclass_transform

from volt.model.landlock import FILES, OF_FILES, PORTS, SCOPES, bits
from volt.model.protocol import VERSION as PROTOCOL
from volt.model.text import PORT_WIDTH, WIDTHS, Message, Slot, Text, show
from volt.model.values import Value, defaults, kinds

# The kinds of argument. The annotation's name is the kind: KINDS gives its binary form.
Out = str  # a new name for a descriptor that the step opens
Reg = str  # the name of a descriptor opened before; "" for none
Regs = tuple[str, ...]
Texts = tuple[Text, ...]
Blob = bytes
Messages = Message  # netlink messages with slots
U32 = int
U64 = int
Mode = int  # permission bits, printed in octal
Switch = bool
Attrs = tuple[str, ...]  # names in MOUNT_ATTRS
Caps = tuple[str, ...]  # names in CAPABILITIES
Limit = str  # a name in LIMITS
Files = tuple[str, ...]  # rights to files, in landlock.FILES
Ports = tuple[str, ...]  # rights to ports, in landlock.PORTS
Scopes = tuple[str, ...]  # names in landlock.SCOPES

KINDS = {
    "Out": "reg",
    "Reg": "reg",
    "Regs": "regs",
    "Text": "text",
    "Texts": "texts",
    "Blob": "blob",
    "Messages": "blob",
    "U32": "u32",
    "U64": "u64",
    "Mode": "u32",
    "Switch": "u32",
    "Attrs": "u64",
    "Caps": "u64",
    "Limit": "u32",
    "Files": "u64",
    "Ports": "u64",
    "Scopes": "u64",
}

# The attributes of mount_setattr(2).
MOUNT_ATTRS = {"ro": 0x1, "nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "nosymfollow": 0x200000}

# capabilities(7), linux/capability.h: the position is the number.
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG "
    "MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()

# getrlimit(2), asm-generic/resource.h: the same numbers on x86-64 and arm64.
LIMITS = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}

# The bits of each kind of right.
RIGHTS = {"Files": FILES, "Ports": PORTS, "Scopes": SCOPES}
FILE_RIGHTS = bits(OF_FILES, FILES)

# What attach-inside makes where a mount point is missing.
MAKE_FOLDER = 1
MAKE_FILE = 2

NO_LIMIT = 2**64 - 1


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Step(Value):
    """One operation with its arguments. `note` says what it is for, in words of the manifest."""

    note: str = ""

    name: ClassVar[str] = ""
    calls: ClassVar[tuple[str, ...]] = ()
    undo: ClassVar[str] = ""
    release: ClassVar[str] = ""
    once: ClassVar[bool] = False


# ── on the host, as the supervisor ──────────────────────────────────────────────────────────────


class Report(Step):
    """Open a temporary file beside `path`; when all is over write the outcome to it as JSON and
    rename it. With an empty `path`, write it to the inherited descriptor `descriptor`."""

    name = "report"
    calls = ("openat", "write", "renameat2")
    undo = release = "the outcome is written in any case"
    once = True
    path: Text = ()
    descriptor: U32 = 0


class Lifeline(Step):
    """Watch the inherited descriptor: when its other end closes, the payload is ended."""

    name = "lifeline"
    descriptor: U32


class TimeLimit(Step):
    """When `milliseconds` have passed since the start the payload is ended, as stop-by says."""

    name = "time-limit"
    milliseconds: U64


class StopBy(Step):
    """What ends the payload where volt ends it: the signal with this number, and SIGKILL when it has taken
    `milliseconds` and longer. Without this step SIGTERM and 10 s. `asked` says that a SIGTERM to the supervisor asks
    for that, as a unit of systemd does; else it is passed on."""

    name = "stop-by"
    signal: U32
    milliseconds: U64
    asked: Switch = False


class ExpectInit(Step):
    """What runs inside is an init. INT, TERM and HUP to this process end it in its own way, with the signal of stop-by;
    it has ended when systemd-nspawn has, whose status is its own: 133 where it asked to be started again."""

    name = "expect-init"


class RestartBy(Step):
    """Start the payload anew when it has ended: always, or where its status is none of `clean`; a start that fails is
    an end too. All that is not done once is undone, and after a pause done again from the same plan. The pauses are
    those of `pauses` in their order, milliseconds; one more end in a row is the last. An end after `lasted`
    milliseconds or more begins a new row. It is the last too if volt was asked for it, where `folder`/ending is, and if
    the file `policy` says something else by then. `folder`/restarts.json tells how it stands."""

    name = "restart-by"
    calls = ("openat", "write", "renameat2")
    once = True
    folder: Text
    always: Switch
    clean: Texts
    pauses: Texts
    lasted: U64
    policy: Text


class Detach(Step):
    """fork(2): the child goes on as the supervisor, in a session of its own; when the payload has started its standard
    streams become /dev/null. The parent waits for that, prints the run's id and ends with 0; where the launch fails it
    ends as the child does, which has said why. A signal that ends the parent's wait ends the launch."""

    name = "detach"
    calls = ("clone3", "setsid")
    once = True


class MakePipe(Step):
    """pipe2(2) for the standard stream with this number: the supervisor keeps its own end, `to` is the payload's. Of
    input it is the one for writing, held open as long as the run; of output it goes to the log."""

    name = "make-pipe"
    stream: U32
    to: Out


class OpenLog(Step):
    """Open `folder`/0.log for what the payload writes: lines of the CRI log format, kubernetes/design-proposals-archive
    kubelet-cri-logging.md. Above `rate` bytes a second what is written is discarded and counted. At `size` bytes the
    file becomes 1.log, that one 2.log, and so on: `files` of them in all."""

    name = "open-log"
    calls = ("openat",)
    undo = release = "close it, with what is still in the pipes"
    once = True
    folder: Text
    rate: U64
    size: U64
    files: U32


class AwaitLine(Step):
    """The payload is ready when a line of what it writes has `line` in it; as with await-notice in all else."""

    name = "await-line"
    calls = ("openat", "write", "renameat2")
    folder: Text
    milliseconds: U64
    line: Text


class AwaitNotice(Step):
    """The payload is ready when it has sent READY=1 to the socket of offer-socket, sd_notify(3), which a child of the
    supervisor reads: STATUS= is kept as what it says of itself, all else is passed over. Until then the starter of a
    detached run waits, `milliseconds` at most from the payload's start; then it is ended as stop-by says, and the
    launch has failed. 0: for that there is no limit. `folder`/ready.json tells how it stands."""

    name = "await-notice"
    calls = ("clone3", "openat", "write", "renameat2")
    folder: Text
    milliseconds: U64


class AwaitFile(Step):
    """The payload is ready when the regular file `path` of its root has been made, or written anew, since show-root
    looked; a link is followed inside, and never out. As with await-notice in all else."""

    name = "await-file"
    calls = ("clone3", "openat", "write", "renameat2")
    folder: Text
    milliseconds: U64
    path: Text


class AwaitPort(Step):
    """The payload is ready when a TCP connection to `port` of 127.0.0.1 or ::1 in the network of show-network is taken,
    and `request`, where there is one, is answered with a status of HTTP from 200 to 399. As with await-notice in all
    else."""

    name = "await-port"
    calls = ("clone3", "setns", "openat", "write", "renameat2")
    folder: Text
    milliseconds: U64
    port: U32
    request: Text = ()


class TellReady(Step):
    """When the payload is ready, or has started where nothing tells that, send READY=1 to the socket that NOTIFY_SOCKET
    names in the caller's environment, if there is one by then, and WATCHDOG=1 whenever the payload does, four times a
    second at most: sd_notify(3)."""

    name = "tell-ready"
    calls = ("sendto",)


class MakeFolder(Step):
    """mkdirat(2). A folder that exists is left alone; a symbolic link in its place is an error.
    A new folder that is not `keep` goes with the run; one that is goes only if the launch fails. What is
    in it goes too, unless it is `shared` with other runs: then it goes only when it is empty. With `ended` the
    folder gets that name when the run has ended."""

    name = "make-folder"
    calls = ("mkdirat",)
    undo = "remove the folder, if this run made it"
    release = "remove the folder unless it is kept; or rename it"
    once = True
    path: Text
    mode: Mode = 0o755
    keep: Switch = False
    shared: Switch = False
    ended: Text = ()


class ClaimName(Step):
    """Claim `name` in `folder`: a file made with O_TMPFILE holding `content`, locked with flock(2),
    linked into place. Taken: whoever holds its lock is named. Its holder dead: it is replaced."""

    name = "claim-name"
    calls = ("openat", "write", "linkat", "unlinkat")
    undo = release = "remove the claim"
    once = True
    folder: Text
    label: Text
    content: Text


class ClaimRun(Step):
    """Draw a run id of 12 hex digits and claim `folder`/ID.lock as claim-name does; then {run}."""

    name = "claim-run"
    calls = ("openat", "write", "linkat")
    undo = release = "remove the claim"
    once = True
    folder: Text


class ClaimUids(Step):
    """Claim a range of 65,536 uids: the first free one of `count` ranges from `base`, beginning with
    number `first` and going round; then {uids}."""

    name = "claim-uids"
    calls = ("openat", "write", "linkat", "unlinkat")
    undo = release = "remove the claim"
    once = True
    folder: Text
    base: U32
    count: U32
    first: U32


class ClaimAddress(Step):
    """Claim an IPv4 address: the first free one of `count` from `base`, beginning with number `first` and going round;
    then {address}. The IPv6 addresses, the MAC and the name of the link follow from it."""

    name = "claim-address"
    calls = ("openat", "write", "linkat", "unlinkat")
    undo = release = "remove the claim"
    once = True
    folder: Text
    base: U32
    count: U32
    first: U32


class ClaimHost(Step):
    """Claim `label` in `folder` as claim-name does. `content` is a comment of who holds it and lines of hosts(5), for
    the resolver that watches the folder; the file is opened to be written and closed once it has its name, which
    inotify(7) tells of."""

    name = "claim-host"
    calls = ("openat", "write", "linkat", "fchmod", "unlinkat")
    undo = release = "remove the claim"
    once = True
    folder: Text
    label: Text
    content: Text


class EnsureResolver(Step):
    """Find the resolver of the network at `path`: a process that holds the lock of `path`.resolver, where `mark` stands
    when it answers. Where there is none, or one that is started otherwise, start one and wait until it answers: `volt
    keep-names`, which starts `argv`, a program behind what it is and may do, as often as that ends, and ends
    itself two seconds, at most, after the last claim in `path`.names. Where there is a `bus`, it is in a scope of its
    own, as with start-scope: a resolver is its network's, and not the unit's that a workload was launched from."""

    name = "ensure-resolver"
    calls = ("openat", "ftruncate", "clone3", "connect", "sendto")
    path: Text
    mark: Text
    argv: Texts
    bus: Text = ()
    unit: Text = ()
    request: Blob = b""
    run_at: U32 = 0
    pid_at: U32 = 0


class ClaimPorts(Step):
    """Hold a socket for each of `sockets` as long as the run: `PROTOCOL ADDRESS PORT INSIDE`, where PORT 0 is one that
    is free, then {port}, and ADDRESS * every address of both families. Taken: whoever holds it is named, the workload
    of another run by its claim in `folder`. The claim of claim-address gets a line with them and the workload's name,
    `label`."""

    name = "claim-ports"
    calls = ("bind", "write")
    undo = release = "close the sockets"
    once = True
    folder: Text
    label: Text
    sockets: Texts


class PreparePorts(Step):
    """What makes the ports of claim-ports lead to the workload, as batches of nftables: `publish`, which is sent once
    it has its link, and `remove`: one that takes all of it back where it is still this run's, then one for each
    element, for when some is not. A dead run's element in the place of one is removed. The claim of claim-address gets
    both, for whoever has to publish it again, or to take it back. `earlier`, where there are UDP ports, lists
    connections of UDP: those to one of them that began before are deleted. linux/netfilter/nfnetlink_conntrack.h"""

    name = "prepare-ports"
    calls = ("write", "sendto")
    undo = release = "take back what was published"
    publish: Messages
    remove: Messages
    earlier: Blob = b""


class RelayLoopback(Step):
    """Listen at [::1] for the ports of claim-ports that are held there, from when they are published; no packet from
    there can be translated. The first who comes has a process started, without capabilities, files and descriptors,
    which passes everything on to the workload: at `address6`, its IPv6 address as 16 bytes, or at its IPv4 address
    where nobody takes it at the other. It ends when it has had nothing to do for a while, and with this process."""

    name = "relay-loopback"
    calls = ("listen",)
    undo = release = "end the process"
    address6: Messages


class RouteLoopback(Step):
    """Have the kernel route packets of 127.0.0.0/8 over the bridge `label`, where it does not: route_localnet of
    Documentation/networking/ip-sysctl.rst. What was changed is added to `record`, as with allow-forwarding."""

    name = "route-loopback"
    calls = ("openat", "write")
    label: Text
    record: Text


class AllowForwarding(Step):
    """Have the kernel forward packets where it does not: net.ipv4.ip_forward and net.ipv6.conf.all.forwarding of
    Documentation/networking/ip-sysctl.rst. An interface that has accepted router advertisements goes on accepting
    them: accept_ra = 2. What was changed, and what it was before, is added to `record`, a line for each."""

    name = "allow-forwarding"
    calls = ("openat", "write")
    record: Text
    ipv6: Switch = False


class EnsureBridge(Step):
    """Find the bridge `label`, then its index is known; where there is none, or it has lost `address` or `address6`
    (none, or 16 bytes), send `make`, and `mend`, which needs the index: rtnetlink(7)."""

    name = "ensure-bridge"
    calls = ("sendto",)
    label: Text
    address: U32
    address6: Blob
    make: Blob
    mend: Messages


class EnsureRules(Step):
    """Ask nftables for the rules of volt's tables: unless `count` of them bear the `mark`, send `make`, which makes
    them anew and leaves alone what running workloads have added to sets. `known` asks for what join of PrepareLink
    adds: where it is missing, the network's links have to be told to the rules again."""

    name = "ensure-rules"
    calls = ("sendto",)
    ask: Blob
    mark: Blob
    count: U32
    make: Blob
    known: Blob


class ForgetConnections(Step):
    """Before somebody else has {address}, delete what connection tracking knows of connections translated for it. `ask`
    looks for the notes that the rules make of such, behind one message that finds their place. Where there are some,
    `forget` takes the notes away and lets nothing more out of a link that is still there; then each list of `lists`
    that a note stands for is gone through, and its connections deleted; where that fails, `again` makes all notes
    again; and `waiting` drops what the host could not deliver yet. This is done for a dead workload when the launch
    comes to it, and at the end for its own. Then the host forgets in any case, by `waiting`, who has the address on
    `bridge`. linux/netfilter/nfnetlink_conntrack.h"""

    name = "forget-connections"
    calls = ("sendto",)
    undo = release = "forget the connections of the run"
    ask: Messages
    lists: Messages
    forget: Messages
    again: Messages
    waiting: Messages
    bridge: Text


class PrepareLink(Step):
    """What connects the workload, once it has a network namespace: `create` is the pair of links; `adopt` puts one end
    on the bridge; `permit` says in the bridge's rules what may come out of it; `configure` is sent inside.
    A link of that name is a dead workload's, whose address has been claimed: `remove` deletes it. Where bridge or
    rules had to be made anew, `adopt` and `permit` are sent for every other link whose address with `mask` is `base`
    too, with `doubt`, which notes that it may have connections, and with what its claim in `folder` says that is
    published; and then `join`, which makes the network known to the rules."""

    name = "prepare-link"
    calls = ("sendto",)
    base: U32
    mask: U32
    folder: Text
    create: Messages
    adopt: Messages
    permit: Messages
    doubt: Messages
    configure: Messages
    remove: Messages
    join: Blob


class WriteFile(Step):
    """Write `content` to a temporary file beside `path` and rename(2) it there: whoever sees the name sees all of
    it. A power failure may leave it empty; what it tells of ends with the power too."""

    name = "write-file"
    calls = ("openat", "write", "renameat2")
    undo = "remove the file"
    release = "remove the file unless it is kept"
    once = True
    path: Text
    content: Text
    mode: Mode = 0o600
    keep: Switch = False


class PinFile(Step):
    """Make `path` with `content`; where it exists its content must be the same, else the launch
    fails with `otherwise` as the message."""

    name = "pin-file"
    calls = ("openat", "write", "renameat2")
    undo = "remove the file, if this run made it"
    once = True
    path: Text
    content: Text
    otherwise: Text


class MakeMachineId(Step):
    """Make `path` with a random machine-id(5), unless there is one already."""

    name = "make-machine-id"
    calls = ("openat", "write", "renameat2")
    undo = "remove the file, if this run made it"
    once = True
    path: Text


class SetAside(Step):
    """rename(2) `path` to `to`. Nothing there: nothing done."""

    name = "set-aside"
    calls = ("renameat2",)
    undo = "rename it back"
    release = "remove the tree that was set aside"
    once = True
    path: Text
    to: Text


class MakeCgroup(Step):
    """mkdirat(2) in cgroup v2; processes of the run are started in it with clone3(2)."""

    name = "make-cgroup"
    calls = ("mkdirat",)
    undo = release = "end what is in the cgroup and remove it"
    path: Text
    to: Out


class StartScope(Step):
    """Have systemd make the scope `unit` and put this process into it: `request` is sent to the bus at `bus`,
    with the run's id at byte `run_at` and this process's number at byte `pid_at`; wait until the job is done.
    D-Bus Specification; org.freedesktop.systemd1(5), StartTransientUnit."""

    name = "start-scope"
    calls = ("connect", "sendto")
    undo = release = "systemd removes the scope once this process has ended"
    once = True
    bus: Text
    unit: Text
    request: Blob
    run_at: U32
    pid_at: U32


class JoinCgroup(Step):
    """mkdirat(2) in cgroup v2, and move this process there: a cgroup whose children have controllers holds no
    process itself, cgroups(7)."""

    name = "join-cgroup"
    calls = ("mkdirat", "write")
    undo = release = "it goes with the unit"
    once = True
    path: Text


class SetControl(Step):
    """Write `value` to `path`, a file of cgroup v2."""

    name = "set-control"
    calls = ("write",)
    path: Text
    value: Text


class WatchLimits(Step):
    """When the payload has ended, read from the cgroup `path` what its limits did into the outcome: memory.events,
    pids.events and the pressures, Documentation/admin-guide/cgroup-v2.rst."""

    name = "watch-limits"
    path: Text


class MakeSocket(Step):
    """The control socket pair, seqpacket: the supervisor keeps one end, `to` names the other."""

    name = "make-socket"
    to: Out


class RegisterMachine(Step):
    """Have systemd-machined know the run, once the payload has started: `request` is sent to the bus at `bus`, with the
    number of process 1 inside, as the host has it, at byte `leader_at`, and the index of the workload's link at byte
    `link_at`, 0 for none. Nobody waits for the answer; a refusal is a line of the run's log, and no failure. Undone
    only where it was taken: `farewell` is sent, and a second, at most, waited. Where it is refused, `stale` asks for
    the machine of this process's own unit, "" for nothing: one that is found is an earlier run's, which has left it
    behind; it goes by `farewell`, and the request is sent once more.
    org.freedesktop.machine1(5), RegisterMachineWithNetwork, UnregisterMachine, GetMachineByPID."""

    name = "register-machine"
    calls = ("connect", "sendto")
    undo = release = "unregister it"
    bus: Text
    request: Blob
    leader_at: U32
    link_at: U32
    farewell: Blob
    stale: Blob = b""


class MemoryFile(Step):
    """An empty memfd: what is written to it is shown as the cause where the launch fails."""

    name = "memory-file"
    to: Out


class Seal(Step):
    """A sealed memfd with `content`."""

    name = "seal"
    content: Blob
    to: Out


class SealInside(Step):
    """A sealed memfd with the plan's last two sections, which the init reads."""

    name = "seal-inside"
    to: Out


class SealProgram(Step):
    """The static program itself, /proc/self/exe, for the init to run: its file through a detached read-only mount, so
    that all inits share its pages. A sealed, executable memfd with a copy where the file is not root's alone to write
    and everyone's to run, or lies on a file system that is not local; or `unreadable`: what runs a program that it
    cannot read is traced by nobody who has SYS_PTRACE in its own user namespace alone, ptrace(2)."""

    name = "seal-program"
    unreadable: Switch = False
    to: Out


class SealFile(Step):
    """A sealed memfd with what the regular file `path` holds, at most 1 MiB: an env_file's values
    are in no plan and no record. With `inode` not 0, another device or inode than the ones seen while
    planning is an error."""

    name = "seal-file"
    path: Text
    device: U64 = 0
    inode: U64 = 0
    to: Out


class Open(Step):
    """openat2(2) with O_PATH and RESOLVE_NO_MAGICLINKS. With `inode` not 0, another device or inode
    than the ones seen while planning is an error."""

    name = "open"
    path: Text
    device: U64 = 0
    inode: U64 = 0
    to: Out


class OpenNull(Step):
    """/dev/null, for reading and writing."""

    name = "open-null"
    to: Out


class MakeIdmap(Step):
    """A user namespace that holds these id maps, for mount_setattr(2): lines as in uid_map."""

    name = "make-idmap"
    calls = ("clone3", "write")
    uids: Text
    gids: Text
    to: Out


class CloneMount(Step):
    """open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `source`."""

    name = "clone-mount"
    source: Reg
    recursive: Switch = False
    to: Out


class SetMount(Step):
    """mount_setattr(2) on a detached mount: attributes, and the id map where there is one."""

    name = "set-mount"
    mount: Reg
    attrs: Attrs = ()
    idmap: Reg = ""
    recursive: Switch = False


class TakeTerminal(Step):
    """Put the caller's terminal (standard descriptor `descriptor`) into raw mode."""

    name = "take-terminal"
    calls = ("ioctl",)
    undo = release = "restore the terminal's mode"
    descriptor: U32


class LoadModules(Step):
    """Have each of `modules` loaded that has no folder in /sys/module: `program`, modprobe(8), is run with its name and
    has ten seconds. What has been loaded stays so: others may use it by the time that the run ends."""

    name = "load-modules"
    calls = ("clone3",)
    modules: Texts
    program: Text


class StartGuard(Step):
    """clone3(2) a child into `cgroup`, with a pid and a mount namespace of its own; the steps of the
    next section are the child's. The parent supervises from here on."""

    name = "start-guard"
    calls = ("clone3",)
    undo = release = "SIGKILL: the pid namespace and every mount go with it"
    cgroup: Reg


# ── in the guard: its own pid and mount namespace ───────────────────────────────────────────────


class DieWithParent(Step):
    """PR_SET_PDEATHSIG SIGKILL. Cleared by the kernel when ids change, so it may come twice."""

    name = "die-with-parent"


class NewSession(Step):
    """setsid(2): the caller's terminal sends its signals to the supervisor alone."""

    name = "new-session"


class PrivateMounts(Step):
    """Make every mount a slave, so that nothing mounted here reaches the host."""

    name = "private-mounts"
    calls = ("mount",)


class ShareMount(Step):
    """mount(2) with MS_SHARED: what is mounted below `path` from here on is mounted in copies of this namespace too."""

    name = "share-mount"
    calls = ("mount",)
    path: Text


class MakeFilesystem(Step):
    """fsopen(2), fsconfig(2) with each of `options` (`key=value`, or `key`), fsmount(2)."""

    name = "make-filesystem"
    calls = ("fsmount",)
    type: Text
    options: Texts = ()
    attrs: Attrs = ()
    to: Out


class MountLoop(Step):
    """The same of the image of a disk, read-only, through a loop device that goes with its last mount: loop(4)."""

    name = "mount-loop"
    calls = ("fsmount",)
    type: Text
    file: Text
    attrs: Attrs = ()
    to: Out


class Attach(Step):
    """move_mount(2) of a detached mount onto `path`."""

    name = "attach"
    calls = ("move_mount",)
    mount: Reg
    path: Text


class LockMount(Step):
    """Attach a detached mount to `path` for a moment; `to` is a copy of it, and of all below, whose attributes nobody
    changes who may mount in a user namespace of its own: mount_namespaces(7)."""

    name = "lock-mount"
    calls = ("move_mount", "unshare", "umount2")
    mount: Reg
    path: Text
    to: Out


class ActAs(Step):
    """setfsuid(2), setfsgid(2) to `uid` (decimal), keeping the capabilities for files."""

    name = "act-as"
    uid: Text


class MakeFile(Step):
    """A new file in the run's own staging tmpfs."""

    name = "make-file"
    calls = ("openat", "write")
    path: Text
    content: Text = ()
    mode: Mode = 0o644


class MakeLink(Step):
    """symlinkat(2) in the run's own staging tmpfs."""

    name = "make-link"
    calls = ("symlinkat",)
    path: Text
    target: Text


class SetLimit(Step):
    """setrlimit(2): soft and hard limit; 2^64-1 is no limit."""

    name = "set-limit"
    resource: Limit
    soft: U64
    hard: U64


class Execute(Step):
    """Make `stdio` descriptors 0, 1, 2 and `descriptors` 3 and up, close all others, unblock
    signals, execve(2). The environment is `defaults`, then the lines NAME=value of each `env_files`
    descriptor (# comments, blank lines), then `env`; a later value replaces an earlier one. A program
    without a slash is looked for in that environment's PATH."""

    name = "execute"
    calls = ("execve",)
    argv: Texts
    env: Texts
    stdio: Regs = ()
    descriptors: Regs = ()
    env_files: Regs = ()
    defaults: Texts = ()


# ── inside, as the init ─────────────────────────────────────────────────────────────────────────


class ProtectInit(Step):
    """PR_SET_DUMPABLE 0: no payload opens /proc/1/mem or traces the init."""

    name = "protect-init"


class CoverBelow(Step):
    """Have the supervisor mount an empty tmpfs on /proc/driver and on /sys/firmware in the guard's mount namespace,
    and wait for it. Shared by share-mount, they are mounted on those that systemd-nspawn has left below the root too,
    and the kernel no longer takes these for whole: mount_too_revealing() in its fs/namespace.c. Not before nspawn has
    mounted its own, for which it needs them whole."""

    name = "cover-below"
    calls = ("setns", "mount")


class AttachInside(Step):
    """move_mount(2) onto `path` of the workload's own root, resolved there without magic links; a
    missing mount point (`kind`: 1 folder, 2 file) is made first, with its parents."""

    name = "attach-inside"
    calls = ("mkdirat", "openat", "move_mount")
    mount: Reg
    path: Text
    kind: U32


class Mask(Step):
    """Cover `path`, if it is there: a file by /dev/null, a folder by an empty read-only tmpfs."""

    name = "mask"
    calls = ("fsmount", "move_mount")
    path: Text


class ProtectPath(Step):
    """Make `path`, if it is there, read-only by a mount of itself."""

    name = "protect-path"
    calls = ("move_mount",)
    path: Text


class OfferSocket(Step):
    """Attach a small tmpfs to `path` of the workload's own root, as attach-inside does, with the datagram socket
    `socket` in it that everyone may write to; the supervisor gets it."""

    name = "offer-socket"
    calls = ("mkdirat", "fsmount", "bind", "move_mount")
    path: Text


class ShowRoot(Step):
    """Hand the root to the supervisor, with what is at `path` in it before the payload starts."""

    name = "show-root"
    path: Text


class ShowNetwork(Step):
    """Hand the network namespace to the supervisor."""

    name = "show-network"


class OpenTerminal(Step):
    """A terminal of the container's own devpts, whose master goes to the supervisor. With `input` it is typed into;
    for output alone it changes no byte. As the `console` it is /dev/console too."""

    name = "open-terminal"
    input: Switch = False
    console: Switch = False


class SendNetlink(Step):
    """sendto(2) of `request`, whole netlink messages, on a netlink(7) socket of `protocol` in this network namespace.
    Each message that asks for it has to be confirmed; one that is refused is told by its number."""

    name = "send-netlink"
    calls = ("sendto",)
    protocol: U32
    request: Blob


class JoinNetwork(Step):
    """Have the supervisor connect this network namespace, as prepare-link says, and wait for it."""

    name = "join-network"
    calls = ("setns", "sendto")


class SetSysctl(Step):
    """Write `value` to `path` below /proc/sys, for this network namespace."""

    name = "set-sysctl"
    calls = ("write",)
    path: Text
    value: Text


class MakeRuleset(Step):
    """landlock_create_ruleset(2): these rights are refused wherever no rule gives them, and these scopes are closed."""

    name = "make-ruleset"
    files: Files = ()
    ports: Ports = ()
    scopes: Scopes = ()
    to: Out


class AllowBeneath(Step):
    """landlock_add_rule(2): `access` to `path` of the workload's own root and to all beneath it, of which something
    else than a folder takes what files can have. A link on the way is followed where no payload can have made it: on
    a read-only mount, and in the root itself if its `links` are the image's, or the `image` has the same link there.
    Without `required`, a path that is not there, or cannot be trusted, is passed over and told in the outcome."""

    name = "allow-beneath"
    ruleset: Reg
    path: Text
    access: Files
    required: Switch = False
    links: Switch = False
    image: Reg = ""


class AllowOpened(Step):
    """landlock_add_rule(2): `access` to what `descriptors` have open, so that it can be opened again as /dev/stdin.
    What has no path needs no rule."""

    name = "allow-opened"
    ruleset: Reg
    descriptors: Regs
    access: Files


class AllowPorts(Step):
    """landlock_add_rule(2): `access` to the TCP ports from `first` to `last`."""

    name = "allow-ports"
    ruleset: Reg
    first: U32
    last: U32
    access: Ports


class RestrictSelf(Step):
    """landlock_restrict_self(2): from here on the ruleset holds for the init and for all that it starts."""

    name = "restrict-self"
    ruleset: Reg


class FilterInit(Step):
    """seccomp(2) SECCOMP_SET_MODE_FILTER with `filter`, an array of struct sock_filter, at once: from here on it holds
    for the init and for all that it starts."""

    name = "filter-init"
    filter: Blob


class StartPayload(Step):
    """fork(2): the steps of the next section are the child's, and the init waits for them to end in
    exec, or for the one that failed. Bit n of `terminal` set: standard descriptor n is the terminal
    that has been opened; else `stdio`'s n."""

    name = "start-payload"
    calls = ("clone",)
    stdio: Regs
    terminal: U32 = 0


class StartInit(Step):
    """fork(2): process 1 does the steps of the next section, whose exec makes it the image's init; the child stays, for
    signals and sessions, and waits for them to end in exec. `terminal` as with start-payload."""

    name = "start-init"
    calls = ("clone",)
    terminal: U32 = 0


class KeepCapabilities(Step):
    """capset(2): the init itself keeps these alone."""

    name = "keep-capabilities"
    caps: Caps


# ── the payload, up to its exec ─────────────────────────────────────────────────────────────────


class BoundCapabilities(Step):
    """PR_CAPBSET_DROP of every capability but these."""

    name = "bound-capabilities"
    caps: Caps


class SetIdentity(Step):
    """setgroups(2), setresgid(2), setresuid(2), keeping permitted capabilities; `groups` are decimal."""

    name = "set-identity"
    uid: U32
    gid: U32
    groups: Texts = ()


class SetCapabilities(Step):
    """capset(2): permitted and effective `caps`, inheritable and ambient `ambient`."""

    name = "set-capabilities"
    caps: Caps
    ambient: Caps = ()


class NoNewPrivileges(Step):
    """PR_SET_NO_NEW_PRIVS: set-uid programs and file capabilities give nothing."""

    name = "no-new-privileges"


class ChangeFolder(Step):
    """openat2(2) with RESOLVE_NO_MAGICLINKS, fchdir(2)."""

    name = "change-folder"
    path: Text


class FilterCalls(Step):
    """seccomp(2) SECCOMP_SET_MODE_FILTER with `filter`, an array of struct sock_filter. It is
    installed at the last moment: together with the exec that follows."""

    name = "filter-calls"
    filter: Blob


OPERATIONS: tuple[type[Step], ...] = (
    Report,
    Lifeline,
    TimeLimit,
    StopBy,
    ExpectInit,
    RestartBy,
    Detach,
    MakePipe,
    OpenLog,
    AwaitLine,
    AwaitNotice,
    AwaitFile,
    AwaitPort,
    TellReady,
    MakeFolder,
    ClaimName,
    ClaimRun,
    ClaimUids,
    ClaimAddress,
    ClaimHost,
    ClaimPorts,
    PreparePorts,
    AllowForwarding,
    EnsureBridge,
    EnsureResolver,
    EnsureRules,
    ForgetConnections,
    RelayLoopback,
    RouteLoopback,
    PrepareLink,
    WriteFile,
    PinFile,
    MakeMachineId,
    SetAside,
    MakeCgroup,
    StartScope,
    JoinCgroup,
    SetControl,
    WatchLimits,
    MakeSocket,
    RegisterMachine,
    MemoryFile,
    Seal,
    SealInside,
    SealProgram,
    SealFile,
    Open,
    OpenNull,
    MakeIdmap,
    CloneMount,
    SetMount,
    TakeTerminal,
    LoadModules,
    StartGuard,
    DieWithParent,
    NewSession,
    PrivateMounts,
    MakeFilesystem,
    MountLoop,
    Attach,
    LockMount,
    ActAs,
    MakeFile,
    MakeLink,
    SetLimit,
    Execute,
    ProtectInit,
    ShareMount,
    CoverBelow,
    AttachInside,
    Mask,
    ProtectPath,
    OfferSocket,
    ShowRoot,
    ShowNetwork,
    OpenTerminal,
    JoinNetwork,
    SetSysctl,
    SendNetlink,
    MakeRuleset,
    AllowBeneath,
    AllowOpened,
    AllowPorts,
    RestrictSelf,
    FilterInit,
    StartPayload,
    StartInit,
    KeepCapabilities,
    BoundCapabilities,
    SetIdentity,
    SetCapabilities,
    NoNewPrivileges,
    ChangeFolder,
    FilterCalls,
)

OPCODES = {operation: number for number, operation in enumerate(OPERATIONS, 1)}


def arguments(operation: type[Step]) -> tuple[tuple[str, str], ...]:
    """(name, annotation) of each argument in order, `note` left out."""
    return tuple(item for item in kinds(operation).items() if item[0] != "note")


def table_version() -> int:
    """31 bits of the table's digest: both sides of the hand-over must have been built from one table."""
    rows = (f"{n} {op.name} {arguments(op)}" for op, n in OPCODES.items())
    text = "\n".join([f"protocol {PROTOCOL}", *rows])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1


def mask_of(caps: Caps) -> int:
    """The 64-bit mask of capability names."""
    return sum(1 << CAPABILITIES.index(cap) for cap in caps)


def attribute_mask(attrs: Attrs) -> int:
    """The MOUNT_ATTR_ bits of mount attribute names."""
    return sum(MOUNT_ATTRS[attr] for attr in attrs)


def render(step: Step) -> str:
    """The step in one line, as `volt plan` prints it: what has its default value is left out."""
    words = [step.name.ljust(18)]
    at_rest = defaults(type(step))
    for name, kind in arguments(type(step)):
        value = getattr(step, name)
        shown = None if name in at_rest and value == at_rest[name] else _shown(kind, value)
        if shown is None:
            continue
        words.append(f"→ {shown}" if kind == "Out" else f"{name}={shown}")
    return " ".join(words) + (f"   # {step.note}" if step.note else "")


def describe(step: Step) -> dict[str, object]:
    """The step as JSON values: texts with slots in braces, blobs in base64."""
    values = {name: _plain(kind, getattr(step, name)) for name, kind in arguments(type(step))}
    return {"operation": step.name, **values, "note": step.note}


def _plain(kind: str, value: object) -> object:
    match kind, value:
        case "Text", tuple():
            return show(value)
        case "Texts", tuple():
            return [show(item) for item in value]
        case "Blob", bytes():
            return base64.b64encode(value).decode()
        case "Messages", tuple():
            return [str(part) if isinstance(part, Slot) else base64.b64encode(part).decode() for part in value]
        case _, tuple():
            return list(value)
    return value


def _shown(kind: str, value: object) -> str | None:
    """One argument in print; None where it is at rest and says nothing."""
    if value is False or value in ((), "", b""):
        return None
    if kind == "Text":
        return _quoted(show(value))  # type: ignore[arg-type]
    if kind == "Texts":
        return "[" + ", ".join(_quoted(show(item)) for item in value) + "]"  # type: ignore[attr-defined]
    if kind == "Blob":
        return f"<{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]}>"  # type: ignore[arg-type]
    if kind == "Messages":
        return _shown_message(value)  # type: ignore[arg-type]
    if kind == "Mode":
        return f"{value:04o}"
    if kind in ("Regs", "Attrs", "Caps", *RIGHTS):
        return ",".join(value)  # type: ignore[arg-type]
    return "yes" if value is True else str(value)


def _shown_message(value: Message) -> str:
    """The length that it will have, a digest of what stands between its slots, and these."""
    literal = b"".join(str(part).encode() if isinstance(part, Slot) else part for part in value)
    slots = dict.fromkeys(str(part) for part in value if isinstance(part, Slot))
    length = sum(WIDTHS.get(part, PORT_WIDTH) if isinstance(part, Slot) else len(part) for part in value)
    digest = hashlib.sha256(literal).hexdigest()[:12]
    return f"<{length} bytes, sha256 {digest}{''.join(f', {slot}' for slot in slots)}>"


def _quoted(shown: str) -> str:
    printable = shown and all(c.isprintable() and c not in " ,[]\"'#" for c in shown)
    return shown if printable else ascii(shown)
