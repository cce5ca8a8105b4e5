"""One tree of errors. A user sees one line that says what is wrong, where, and what to do; the trace goes to the log."""

from __future__ import annotations


class DeliveryError(Exception):
    """Root of every error that this software raises on purpose.

    ``exit_code`` is what a command ends with when the error reaches the command line.
    """

    exit_code = 1


class ConfigError(DeliveryError):
    """The client's or the machine's configuration is wrong; the message names the file and the key."""

    exit_code = 2


class DoesNotFit(ConfigError):
    """A training run needs more memory than its machine has; the message says what would fit."""


class ClientDataError(DeliveryError):
    """The client's data cannot be used as it is; the message names file and line, and the client must act."""

    exit_code = 3


class GateNotPassed(DeliveryError):
    """A gate was not passed and the caller asked for that to be an error."""

    exit_code = 4


class RetryableError(DeliveryError):
    """Something outside failed in a way that may pass (a time-out, a busy service). The only kind that is retried."""


class EvalIncompleteError(DeliveryError):
    """Too many samples of a suite could not be scored for its number to mean anything."""


class NoVerdict(EvalIncompleteError):
    """A judge answered, and not once in the form of a verdict: what it would say is not known, so nothing is claimed."""


class BudgetReached(EvalIncompleteError):
    """The next paid call could pass the budget; everything answered so far is kept."""

    exit_code = 2


class NotServed(ConfigError):
    """The endpoint does not serve the model that was asked for."""


class IntegrityError(DeliveryError):
    """A file is not the one that its recorded hash names."""


class DeliveryInterrupted(DeliveryError):
    """The user stopped the work; everything finished so far is kept and ``delivery resume`` goes on."""

    exit_code = 130
