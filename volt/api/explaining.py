"""What a plan gives its workload, in words, with the profile that its filter was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volt.model.explanation import Explanation
    from volt.model.facts import Facts
    from volt.model.plan import LaunchPlan


def explained(plan: LaunchPlan, facts: Facts) -> Explanation:
    """The explanation of a plan that was made from these facts."""
    from volt.host.profiles import shipped_profile
    from volt.plan.explain import explain, profile_of

    text = facts.seccomp.text.encode() if facts.seccomp else shipped_profile("seccomp", profile_of(plan))
    return explain(plan, text, facts.architecture)
