"""Where the names of volt.api lie that cost their import only when they are used."""

from __future__ import annotations

from collections.abc import Mapping

# Names that cost their import only when they are used: a launch needs none of them.
LAZY: Mapping[str, str] = {
    **dict.fromkeys(("Attachment", "attach"), "volt.api.attaching"),
    "Audit": "volt.model.audit",
    "Change": "volt.model.diff",
    "Check": "volt.model.doctor",
    "Call": "volt.model.facts",
    **dict.fromkeys(("Execution", "execute"), "volt.api.executing"),
    "Explanation": "volt.model.explanation",
    "Finding": "volt.model.findings",
    "LaunchPlan": "volt.model.plan",
    "Learned": "volt.model.learned",
    "learn": "volt.api.learning",
    **dict.fromkeys(("Cleared", "Outcome", "Removed", "Rubbish", "RunState", "Runs"), "volt.model.run"),
    **dict.fromkeys(("inspect", "kill", "pause", "ps", "stop", "unpause", "wait"), "volt.api.life"),
    "Diff": "volt.api.comparing",
    "diff": "volt.api.comparing",
    **dict.fromkeys(("Copied", "LeftOut"), "volt.model.copied"),
    **dict.fromkeys(("copy_in", "copy_out"), "volt.api.copying"),
    "Log": "volt.runs.logs",
    "LogPiece": "volt.model.log",
    "logs": "volt.api.reading_logs",
    **dict.fromkeys(("RunProcess", "RunProcesses", "Usage"), "volt.model.usage"),
    **dict.fromkeys(("stats", "top"), "volt.api.watching"),
    "Run": "volt.launch.running",
    **dict.fromkeys(("gc", "restart", "rm"), "volt.api.ending"),
    "span": "volt.host.settings",
    "detach": "volt.api.detaching",
    "update": "volt.api.updating",
    **dict.fromkeys(
        (
            "collect_store",
            "export_image",
            "image",
            "image_users",
            "images",
            "import_image",
            "remove_image",
            "store_usage",
            "tag_image",
            "verify_store",
        ),
        "volt.api.imaging",
    ),
    "Image": "volt.images.records",
    "Collected": "volt.store.collect",
    **dict.fromkeys(("StoreUsage", "TreeUsage"), "volt.store.usage"),
    **dict.fromkeys(("Damage", "Verified"), "volt.store.verify"),
    "Manifest": "volt.model.manifest",
    **dict.fromkeys(("Resolved", "Shown", "encode", "from_json", "load_file", "parse", "to_json"), "volt.manifest"),
}
