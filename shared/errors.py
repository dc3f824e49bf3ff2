"""Every error that Bright Run raises on purpose, in one tree.

    BrightRunError
    ├── InvalidInput                 the user can mend it; nothing was started
    │   ├── UnknownHyperparameter    a name that is none
    │   ├── InvalidHyperparameter    a value outside its range
    │   ├── InvalidJobSpec           a job file or a start request that does not hold together
    │   ├── InvalidDataset           a training file that cannot be read or has nothing to train
    │   │   └── DatasetChanged       the file is not the one that was checked
    │   ├── UnsupportedChatTemplate  a tokenizer whose template we cannot reproduce token for token
    │   ├── InvalidBaseModel         a base model that is missing or not a causal language model
    │   ├── TooLittleMemory          a GPU on which the job would not fit, by the prediction
    │   ├── InvalidMachineRequest    a machine that cannot be rented as it was asked for
    │   ├── OverBudget               no offer is as cheap as the budget asks for
    │   ├── OverMonthlyLimit         more than all machines of a month may cost, without a reason
    │   ├── JobConflict              the job id is taken by another spec
    │   ├── NoTrainerRunning         a request that needs a trainer, and none is at work
    │   └── UnknownJob               no job of that id, or an ambiguous prefix
    ├── AgentError
    │   ├── AgentUnreachable         nobody answers; the job may well be running: try again
    │   │   └── HostUnreachable      the machine does not answer, or the connection broke: try again
    │   ├── SshRefused               SSH said no; trying again mends nothing
    │   │   ├── UnknownHostKey       a machine that nobody has said to trust yet
    │   │   ├── HostKeyChanged       another key than the one that is trusted
    │   │   └── PassphraseNeeded     the key that opens the machine is encrypted
    │   ├── AgentRefused             the agent answered with an error; says which
    │   ├── AgentAlreadyRunning      another agent holds this root's lock
    │   ├── MachineReplaced          a later machine of the job may write here, this one may not
    │   ├── AgentOutdated            an agent of another version is at work and must not be stopped
    │   ├── RemoteScriptFailed       a script of ours ended badly on another machine
    │   └── InstallationFailed       the agent or the trainer could not be installed on its machine
    ├── ProviderError                the provider of rented machines, or the way to it
    │   ├── ProviderUnreachable      no answer, or "later": nothing was done; try again
    │   ├── AmbiguousAnswer          it may have been done all the same: look before trying again
    │   ├── ProviderUnauthorized     the API key is missing, wrong, or not allowed to do this
    │   ├── InsufficientBalance      the account has no money left
    │   ├── NoCapacity               this offer is sold out; another may not be
    │   └── ProviderRefused          a request that it will never accept; says why
    ├── SupabaseError                the web application's database and storage, or the way there
    │   ├── SupabaseUnreachable      no answer, or "later": try again; every write of ours may be
    │   │                            repeated
    │   ├── SupabaseUnauthorized     the key or the login is missing, wrong, expired or revoked
    │   ├── SupabaseRefused          row level security, a constraint, a missing bucket: says which
    │   └── SchemaMismatch           tables of another shape, or none: says which and what to do
    ├── WebhookRejected              a webhook that is not signed as it must be; says why
    ├── DownloadFailed               a base model does not come now; trying again may help
    ├── NotEnoughDisk                the disk has less room than is needed; says how much
    ├── ModelCacheError              a base model's copy was not made or removed: try again
    ├── ProtocolError                bytes that are not what the contract says
    ├── StoreError                   the console's database is locked, damaged, full or not writable
    └── IntegrityError               files whose hashes do not hold
        ├── CheckpointRejected       one checkpoint is damaged or belongs to another run
        └── AdapterRejected          an adapter that does not verify, load or generate

A message says what is wrong, where, and the next step. Errors do not cross processes as exceptions:
there they become a `shared.lifecycle.StopReason`.
"""

from __future__ import annotations


class BrightRunError(Exception):
    """Base of every expected error; `str()` of it is a sentence for a person."""

    exit_code = 1


class InvalidInput(BrightRunError):
    """Raised before anything is started, for something that the user can mend."""

    exit_code = 2


class UnknownHyperparameter(InvalidInput):
    """A name that is no hyperparameter's."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        super().__init__(f"{name!r} is not a hyperparameter; there are {', '.join(known)}.")


class InvalidHyperparameter(InvalidInput):
    """A hyperparameter outside its range."""

    def __init__(self, name: str, value: object, allowed: str, help_line: str = "") -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        message = f"{name} = {value!r} is out of range: it must be {allowed}."
        super().__init__(f"{message} {help_line}".rstrip())


class InvalidJobSpec(InvalidInput):
    """A job file or a start request that does not hold together."""


class InvalidDataset(InvalidInput):
    """A training file that cannot be read, or in which nothing can be trained."""


class DatasetChanged(InvalidDataset):
    """The bytes of the training file are not those that were checked and named by their hash."""


class UnsupportedChatTemplate(InvalidInput):
    """No chat format of ours gives the token ids of the tokenizer's own template."""


class InvalidBaseModel(InvalidInput):
    """A base model that is not there, or cannot be trained here."""


class TooLittleMemory(InvalidInput):
    """The predicted peak is more than the GPU has; the message says what would fit."""


class InvalidMachineRequest(InvalidInput):
    """An unknown GPU type, data centre or volume, or a combination that is not to be had."""


class OverBudget(InvalidInput):
    """The cheapest machine costs more than the budget, or the agreed price, allows."""


class OverMonthlyLimit(InvalidInput):
    """Raised before a job that would go beyond the monthly limit, unless a reason is given."""

    def __init__(self, figures: str) -> None:
        self.figures = figures
        super().__init__(
            f"{figures} Nothing was rented. Rent all the same with --over-limit REASON, which is "
            "recorded, or raise the limit: `brightrun costs limit USD`."
        )


class JobConflict(InvalidInput):
    """Raised at the start of a job whose id belongs to a job with another spec."""


class NoTrainerRunning(InvalidInput):
    """Raised for a request to a trainer, such as saving now, while none is training."""


class UnknownJob(InvalidInput):
    """No job has this id, or a prefix of an id fits several jobs."""

    exit_code = 4


class AgentError(BrightRunError):
    """Something between this process and the agent."""

    exit_code = 5


class AgentUnreachable(AgentError):
    """Nobody answers on the agent's socket. Retryable: the job itself may be well."""


class HostUnreachable(AgentUnreachable):
    """The machine does not answer, or the connection to it broke. Retryable."""


class SshRefused(AgentError):
    """SSH said no: a key, the configuration, or the server's own rules.

    Somebody has to mend something first; many tries may even lock the user out.
    """


class UnknownHostKey(SshRefused):
    """Nobody has said yet that the machine with this key is to be trusted."""

    def __init__(
        self, host: str, key_type: str, fingerprint: str, public_key: str, why: str = ""
    ) -> None:
        self.host = host
        self.key_type = key_type
        self.fingerprint = fingerprint
        self.public_key = public_key
        """As in a .pub file: type and key."""
        super().__init__(
            f"{host} is not known yet: its {key_type} key is {fingerprint}. "
            f"{why or 'Compare it with what the machine or its provider says'}, then trust it: "
            f"--accept-host-key {fingerprint}"
        )


class HostKeyChanged(SshRefused):
    """The machine shows another key than the one that is trusted; nothing was sent to it."""

    def __init__(
        self,
        host: str,
        *,
        fingerprint: str,
        trusted_fingerprint: str,
        path: str,
        line_number: int,
    ) -> None:
        self.host = host
        self.fingerprint = fingerprint
        self.trusted_fingerprint = trusted_fingerprint
        self.path = path
        self.line_number = line_number
        super().__init__(
            f"the host key of {host} has changed: {path} line {line_number} trusts "
            f"{trusted_fingerprint}, the machine shows {fingerprint}. Either it was set up anew, "
            "or somebody stands in between; nothing was sent to it. "
            "Once you know why, remove that line and connect again."
        )


class PassphraseNeeded(SshRefused):
    """The private key is encrypted, and nobody has said what unlocks it."""

    def __init__(
        self, key_path: str, why: str = "is encrypted, and nobody is there to ask"
    ) -> None:
        self.key_path = key_path
        super().__init__(f"{key_path} {why}: unlock it with ssh-add {key_path}, and try again.")


class AgentRefused(AgentError):
    """The agent answered, with an error."""

    def __init__(self, status_code: int, detail: str) -> None:
        self.status_code = status_code
        self.detail = detail
        super().__init__(detail)


class AgentAlreadyRunning(AgentError):
    """Another agent holds the lock of this root directory."""


class MachineReplaced(AgentError):
    """A later machine of the job has taken over the root; nothing may be written any more."""


class AgentOutdated(AgentError):
    """An agent that we cannot speak with looks after a job, so it is left in peace."""

    def __init__(self, version: str, protocol: int, job_ids: tuple[str, ...]) -> None:
        self.version = version
        self.protocol = protocol
        self.job_ids = job_ids
        jobs = ", ".join(job_ids)
        super().__init__(
            f"the agent {version} runs there (protocol {protocol}), at work on {jobs}. "
            "The job goes on; its figures stay as last known until it ends, "
            "and then the agent is replaced."
        )


class RemoteScriptFailed(AgentError):
    """A script of ours ended badly on another machine; `output` is the end of what it printed."""

    def __init__(self, exit_status: int | None, output: str) -> None:
        self.exit_status = exit_status
        self.output = output
        super().__init__(f"a script there ended with status {exit_status}: {output.strip()}")


class InstallationFailed(AgentError):
    """The agent or the trainer could not be installed; says what the installer said last."""


class ProviderError(BrightRunError):
    """What the provider of rented machines said, or that it said nothing."""

    exit_code = 7


class ProviderUnreachable(ProviderError):
    """No answer, a 5xx or a 429 to a question: nothing was changed, so asking again is safe."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        """As the provider asks for; None where it does not say."""
        super().__init__(message)


class AmbiguousAnswer(ProviderError):
    """A request that changes something was sent, and nobody knows whether it was carried out."""


class ProviderUnauthorized(ProviderError):
    """401 or 403: the API key is missing, wrong, revoked, or not allowed to do this."""


class InsufficientBalance(ProviderError):
    """402: the account's balance does not allow it."""


class NoCapacity(ProviderError):
    """This machine is not to be had now; the next candidate may be."""


class ProviderRefused(ProviderError):
    """A request that is wrong in itself, or about something that is not there."""


class SupabaseError(BrightRunError):
    """What Supabase said, or that it said nothing. No job is touched by that."""

    exit_code = 8


class SupabaseUnreachable(SupabaseError):
    """No answer, a 5xx or a 429: asking again later is safe, since every write is idempotent."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        """As it asks for; None where it does not say."""
        super().__init__(message)


class SupabaseUnauthorized(SupabaseError):
    """The key or the login is missing, wrong, expired or revoked: somebody has to mend that."""


class SupabaseRefused(SupabaseError):
    """A request that will not be accepted as it is: a rule of the database, a size, a bucket."""

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        """PostgreSQL's SQLSTATE, or PostgREST's own; "" where there is none."""
        super().__init__(message)


class SchemaMismatch(SupabaseError):
    """The tables are not ours, or are not there; nothing was written."""


class WebhookRejected(BrightRunError):
    """A message that may not be believed: wrong or no signature, or sent too long ago."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the webhook is refused: {reason}.")


class DownloadFailed(BrightRunError):
    """The hub does not answer, or its bytes stop coming; what has come is kept."""

    exit_code = 4


class NotEnoughDisk(BrightRunError):
    """There is less room than is needed, or it was used up on the way."""


class ModelCacheError(BrightRunError):
    """A copy of a base model could not be made, listed or removed. What is complete stays."""


class ProtocolError(BrightRunError):
    """Bytes from a file or a socket that are not what the contract says."""

    exit_code = 5


class StoreError(BrightRunError):
    """The console's database cannot be used; no job is touched by that."""


class IntegrityError(BrightRunError):
    """Files whose hashes do not hold, or that are not there."""

    exit_code = 6


class CheckpointRejected(IntegrityError):
    """A checkpoint that is damaged, half written, or belongs to another run."""


class AdapterRejected(IntegrityError):
    """An adapter that does not verify, does not load, or does not generate."""
