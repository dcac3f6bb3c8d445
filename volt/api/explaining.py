"""What a plan gives its workload, in words, with the profile that its filter was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.model.modes import Mode

if TYPE_CHECKING:
    from volt.model.explanation import Explanation
    from volt.model.facts import Facts
    from volt.model.plan import LaunchPlan


def explained(plan: LaunchPlan, facts: Facts) -> Explanation:
    """The explanation of a plan that was made from these facts."""
    from volt.host.profiles import filter_profile
    from volt.plan.explain import explain, profile_of

    named, boots = profile_of(plan), plan.mode == Mode.HYBRID_NATIVE
    text = facts.seccomp.text.encode() if facts.seccomp else filter_profile(named, boots=boots)
    return explain(plan, text, facts.architecture)
