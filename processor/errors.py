"""The errors that a user can meet; each message says what is wrong, with which value, and the remedy."""

import re


def without_credentials(text: str) -> str:
    """A text with what stands before the @ of an address left out.

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
    """Root of all errors of this product. The command line prints it as one line, exit code 1."""


class SettingsError(ProcessorError):
    """A setting, an option or the models file is wrong: correct it and start again (exit code 2)."""


class BrokerError(ProcessorError):
    """Kafka can't be reached or refuses what is asked: check the address, credentials and rights."""


class LogMismatchError(ProcessorError):
    """The log on the broker is not the one this state belongs to (recreated topic, other partition
    count, other schema): use a new ``PROCESSOR_APP_ID``, or restore the topics."""


class StalledError(ProcessorError):
    """The stream makes no progress though it could: a new process takes it up."""


class ArchiveError(ProcessorError):
    """The archive of events can't be read or written: check its address, rights and disk space."""


class CapacityError(ProcessorError):
    """There is no room for new events, and waiting makes none: give more, or another place."""


class EventsFileError(ProcessorError):
    """A line of an events file is not what the format says: correct the file."""


class UnknownModelError(ProcessorError, KeyError):
    """No model, or more than one, has the name that was asked for: use one of those listed."""

    __str__ = Exception.__str__  # KeyError shows its message in quotes
