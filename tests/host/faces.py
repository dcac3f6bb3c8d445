"""A verb through one of its two faces, the command line and the Python interface: the same words, the same answer."""

import json

from volt import api

KINDS = ["command line", "python"]
OPTIONS = {"every": "--all"}


class Face:
    """Calls a verb; gives what `short` makes of each run or thing removed, or the message of what went wrong.

    `short` takes a mapping of fields. A failure of the command line ends with 1, of `wait` with 125, and a manifest
    that is none any more with 2.
    """

    def __init__(self, volt, kind, short):
        self.volt, self.kind, self.short = volt, kind, short

    def __call__(self, verb, *names, **options):
        if self.kind == "python":
            try:
                return [self.short(vars(one)) for one in getattr(api, verb)(*names, **options)]
            except api.VoltError as error:
                return error.message
        words = [word for key, value in options.items() for word in _words(key, value)]
        done = self.volt(verb, *names, *words, "--json")
        return self._answer(verb, done.returncode, json.loads(done.stdout))

    def _answer(self, verb, status, document):
        if "findings" in document:
            assert status == 2
            return f"{len(document['findings'])} problem found"
        if "error" in document or document["failed"]:
            assert status == (125 if verb == "wait" else 1)
        if "error" in document:
            return document["error"]["message"]
        if document["failed"]:
            return "; ".join(f"{one['name']}: {one['message']}" for one in document["failed"])
        return [self.short(one) for one in document["removed" if verb == "rm" else "runs"]]


def _words(key, value):
    option = OPTIONS.get(key, f"--{key}")
    return [option] if value is True else [option, str(value)]
