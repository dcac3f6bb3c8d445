"""The unit of systemd that launches a workload, as the text of its file: systemd.unit(5), systemd.service(5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from volt.model.modes import Mode
from volt.model.sizes import Duration
from volt.model.values import Value
from volt.model.workload import Workload
from volt.plan.ready import TIMEOUT as READY_TIMEOUT
from volt.plan.restarting import PAUSE as RESTART_SEC
from volt.plan.restarting import ended_as_asked
from volt.plan.unit import PULL, START, STOP, TEMPLATE, WEIGHTS, kept, start_timeout, stop_timeout, unit_name
from volt.plan.unit_text import argument, description, path

FOLDER = "/etc/systemd/system"
WORKLOADS = "/etc/volt/workloads"  # where the template's manifests lie
# What the template keeps: workloads that need something else have a unit of their own.
TEMPLATE_KEEPS = {"service.restart": "on-failure", STOP: "5m", START: str(Duration(PULL + READY_TIMEOUT))}
STARTING = 60_000  # milliseconds from the launch to the payload's start: START_LIMIT of volt/native/supervise.c
RELEASE = 15_000  # … from SIGKILL to the payload to the end of the supervisor
RESTART_STATUS = 133  # of an init that asks to be started again: systemd-nspawn(1)


class Launch(Value):
    """What a unit launches: `program` are the words that start volt, the first one absolute; `options` those of `volt
    run`, `file` is the manifest's path, `environment` NAME=value. `mounts` are paths that have to be there before."""

    program: tuple[str, ...]
    file: str
    options: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def unit_file(workload: Workload, launch: Launch) -> str:
    """The unit of one workload. Raises VoltError for a path that no unit can name."""
    service = workload.service
    required = [unit_name(name) for name in service.requires]
    after = [*required, *(unit_name(name) for name in service.after if name not in service.requires)]
    online = ["network-online.target"] if workload.image else []
    about = (
        ("Description", description(workload.description or f"{workload.name}, a workload of volt")),
        ("Wants", " ".join(online)),
        ("Requires", " ".join(required)),
        ("After", " ".join((*NETWORK, *online, *after))),
    )
    return "\n".join(
        (
            *_head(unit_name(workload.name), about, launch),
            *_launching(launch, launch.file, kept(workload)),
            *_timeouts(workload),
            *_watchdog(workload),
            *_ending(workload),
            *_restarting(service.restart or "no", service.restart_sec or RESTART_SEC, workload.mode),
            *_weights(workload),
            *_output(workload.name),
            *INSTALL,
        )
    )


def template(launch: Launch) -> str:
    """The unit of every workload whose manifest is NAME.toml below `WORKLOADS`. Raises VoltError."""
    about = (
        ("Description", "%i, a workload of volt"),
        ("Wants", "network-online.target"),
        ("After", " ".join((*NETWORK, "network-online.target"))),
    )
    longest = Duration.parse(TEMPLATE_KEEPS[STOP]).milliseconds
    return "\n".join(
        (
            *_head(TEMPLATE, about, launch),
            *_launching(launch, f"{WORKLOADS}/%i.toml", TEMPLATE_KEEPS, specifiers=True),
            f"TimeoutStartSec={_seconds(STARTING + PULL + READY_TIMEOUT + RELEASE)}",
            f"TimeoutStopSec={_seconds(longest + RELEASE)}",
            *_ending(None),
            *_restarting(TEMPLATE_KEEPS["service.restart"], RESTART_SEC, Mode.HYBRID_NATIVE),
            *_output("%i"),
            *INSTALL,
        )
    )


# A rule set that is loaded afterwards takes volt's rules with it.
NETWORK = ("network.target", "nftables.service")
INSTALL = ("", "[Install]", "WantedBy=multi-user.target", "")


def _head(name: str, about: Iterable[tuple[str, str]], launch: Launch) -> Iterator[str]:
    yield from (f"# {FOLDER}/{name}", "# Written by volt generate systemd.", "[Unit]")
    yield from (f"{key}={value}" for key, value in about if value)
    yield f"RequiresMountsFor={' '.join(path(one) for one in dict.fromkeys(launch.mounts))}"
    yield from ("", "[Service]", "Type=notify", "NotifyAccess=main")


def _launching(launch: Launch, file: str, keeps: dict[str, str], *, specifiers: bool = False) -> Iterator[str]:
    """The command line, and what is not for systemd to divide or to end one by one: the cgroup is volt's."""
    first, *more = launch.program
    options = [word for key, value in keeps.items() for word in ("--unit-keeps", f"{key}={value}")]
    words = [argument(word) for word in (*more, "run", *launch.options, *options)]
    yield " ".join((f"ExecStart={path(first)}", *words, "--unit", "%n", file if specifiers else argument(file)))
    yield from (f"Environment={argument(one, dollars=False)}" for one in launch.environment)
    yield from ("Delegate=yes", "TasksMax=infinity", "OOMPolicy=continue")


def _timeouts(workload: Workload) -> Iterator[str]:
    """systemd waits longer than volt itself does, which knows what was late, and says it."""
    awaited = start_timeout(workload)
    yield f"TimeoutStartSec={_seconds(STARTING + (awaited.milliseconds if awaited else 0) + RELEASE)}"
    yield f"TimeoutStopSec={_seconds(stop_timeout(workload).milliseconds + RELEASE)}"


def _watchdog(workload: Workload) -> Iterator[str]:
    """systemd's own signal would be SIGABRT, which asks volt for nothing."""
    if given := workload.service.watchdog:
        yield from (f"WatchdogSec={given.milliseconds}ms", "WatchdogSignal=SIGTERM")


def _ending(workload: Workload | None) -> Iterator[str]:
    """SIGTERM asks volt, which asks the payload by the signal of its manifest: to have ended by that is no failure."""
    clean = " ".join(map(str, ended_as_asked(workload)))
    yield from ("KillMode=mixed", "KillSignal=SIGTERM", f"SuccessExitStatus={clean}")


def _restarting(restart: str, pause: Duration, mode: Mode) -> Iterator[str]:
    yield from (f"Restart={restart}", f"RestartSec={pause.milliseconds}ms")
    if mode == Mode.HYBRID_NATIVE:
        yield f"RestartForceExitStatus={RESTART_STATUS}"


def _weights(workload: Workload) -> Iterator[str]:
    names = {"resources.cpu_weight": "CPUWeight", "resources.io_weight": "IOWeight"}
    for key, value in WEIGHTS.items():
        if value(workload) is not None:
            yield f"{names[key]}={value(workload)}"


def _output(name: str) -> Iterator[str]:
    yield from (f"SyslogIdentifier={name}", f"LogExtraFields=VOLT_WORKLOAD={name}")


def _seconds(milliseconds: int) -> int:
    return -(-milliseconds // 1000)
