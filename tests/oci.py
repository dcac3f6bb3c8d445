"""OCI seccomp documents, in few words."""

from __future__ import annotations


def table(**changes):
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [], **changes}


def rule(*names, action="SCMP_ACT_ALLOW", **more):
    return {"names": [*names], "action": action, **more}


def compared(op, value, index=0, **more):
    return [{"index": index, "value": value, "op": f"SCMP_CMP_{op}", **more}]
