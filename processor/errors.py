"""The errors that users can get. Each message names the problem, the value and the remedy."""

import re


def without_credentials(text: str) -> str:
    """A text with the credentials in its URLs, the part before the ``@``, replaced by ``***``.

    >>> without_credentials("http://user:secret@host:9200/ is away")
    'http://***@host:9200/ is away'
    """
    return re.sub(r"//[^/@\s]*@", "//***@", text)


def described(error: BaseException) -> str:
    """The error's class and text, for errors that are not this product's own.

    >>> described(ValueError("x")), described(ValueError("ValueError: x"))
    ('ValueError: x', 'ValueError: x')
    """
    name, text = type(error).__name__, str(error)
    return text if text.startswith(name) else f"{name}: {text}"  # aiokafka's name themselves


class ProcessorError(Exception):
    """The base class of all errors of this product. The command line prints its message as one line
    and ends with exit code 1.

    The message is ``what``, which names the problem and the value, and then the ``remedy``, if given.
    """

    def __init__(self, what: str = "", remedy: str = "") -> None:
        super().__init__(f"{what}: {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


class SettingsError(ProcessorError):
    """A setting, an option or the models file is invalid: correct it and start again (exit code 2)."""


class BrokerError(ProcessorError):
    """Kafka can't be reached or refuses a request: check the address, the credentials and the rights."""


class LogMismatchError(ProcessorError):
    """The log on the broker does not belong to this state (recreated topic, different partition count
    or schema): use a new ``PROCESSOR_APP_ID``, or restore the topics."""


class StalledError(ProcessorError):
    """The stream makes no progress although it could: the process ends, and a new one continues."""


class ArchiveError(ProcessorError):
    """The archive can't be read or written: check its address, the rights and the disk space.

    ``reason`` names the kind of problem, in one word, for metrics.
    """

    def __init__(self, what: str = "", remedy: str = "", reason: str = "other") -> None:
        super().__init__(what, remedy)
        self.reason = reason


class SavepointError(ProcessorError):
    """A savepoint can't be read, written or loaded: the message says which part, and the remedy."""


class EventsFileError(ProcessorError):
    """A line of an events file is not in its format: correct the file."""


class UnknownModelError(ProcessorError, KeyError):
    """No model, or more than one, has the given name: use one of the listed names."""

    __str__ = Exception.__str__  # KeyError shows its message in quotes
