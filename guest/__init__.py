"""scripts/ci-vm: Debian guests in which the tests run that need another kernel, or systemd as PID 1."""

BOUND = ("setpriv", "--pdeathsig", "KILL", "--")  # in front of a command that ends with this process, however that ends


class GuestFailed(Exception):
    """The tests could not be run to their end; the message says why, and what to do about it."""
