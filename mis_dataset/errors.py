"""Everything that can go wrong, as one tree.

    MisError                    exit code 1: the work failed
    ├── UsageError              exit code 2: the request or its input is wrong
    │   ├── RecipeError         the recipe, all its mistakes at once
    │   ├── BackendError        a backend that cannot be found, or lacks an extra
    │   ├── GrammarError        the grammar's own data files
    │   ├── OutputError         --out or --work holds something else
    │   └── DatasetError        a dataset directory that is not valid, all its problems at once
    │       └── LaterFormatError    it is from a later version of this package
    ├── RenderError             weights missing or unreadable, out of memory
    ├── ServerError             a model server that cannot be used
    │   ├── ServerAuthError     401 or 403: the key is missing or wrong
    │   ├── ServerModelError    404: the server does not know the model
    │   └── ServerUnreachableError  no answer after every retry
    ├── TrainError              fine-tuning came to nothing
    ├── EvaluationError         too many rows got no answer, or no word from a judge
    ├── BudgetError             exit code 3: a limit of the recipe is reached
    ├── StorageError            disk full, permission denied, unreadable work
    │   └── DamagedImageError   a drawn image is gone or not as it was drawn
    └── PublishError            the Hub said no
        └── PublishAuthError    no token, or no write access

Every message names the file, row or key at fault and what to do about it. Errors of other libraries are
translated where they enter, with the original as ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Sequence


class MisError(Exception):
    """The root of every error that this package raises on purpose."""

    exit_code = 1


class UsageError(MisError):
    """What was asked for, or the input it names, is wrong; nothing was spent on it."""

    exit_code = 2


class _ListedError(UsageError):
    """A usage error that reports several problems at once."""

    def __init__(self, summary: str, problems: Sequence[str]) -> None:
        # With these it is made anew where another process sends it.
        super().__init__(summary, problems)
        self.summary = summary
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  - {problem}" for problem in self.problems)])


class RecipeError(_ListedError):
    """The recipe is unreadable or breaks its schema; ``problems`` has one entry per mistake."""


class DatasetError(_ListedError):
    """A dataset directory breaks its contract; ``problems`` has one entry per problem, with row ids."""


class LaterFormatError(DatasetError):
    """A dataset was written by a later version of this package, in a format that this one does not know."""


class GrammarError(_ListedError):
    """The data files of the grammar composer contradict themselves."""


class BackendError(UsageError):
    """A backend cannot be found or built, or needs an extra that is not installed."""


class OutputError(UsageError):
    """A directory given for output already holds something else."""


class RenderError(MisError):
    """The renderer cannot work at all (one bad image is an outcome, not an error)."""


class ServerError(MisError):
    """A model server cannot be used at all (one bad answer is an outcome, not an error)."""


class ServerAuthError(ServerError):
    """The key is missing, or the server refused it (401, 403)."""


class ServerModelError(ServerError):
    """The server does not know the model or the path (404)."""


class ServerUnreachableError(ServerError):
    """The server gave no usable answer after every retry."""


class TrainError(MisError):
    """Fine-tuning came to nothing: out of memory, or the loss is no number any more."""


class EvaluationError(MisError):
    """Too many rows got no answer, or no word from a judge; what is finished is kept, and can be gone on from."""


class BudgetError(MisError):
    """A limit that the recipe sets is reached; finished work is kept, and a higher limit goes on from there."""

    exit_code = 3


class StorageError(MisError):
    """The disk is full, a path cannot be written, or finished work cannot be read."""


class DamagedImageError(StorageError):
    """A picture that was drawn is missing or is not as it was drawn; the next build draws it again."""


class PublishError(MisError):
    """The Hub refused or failed."""


class PublishAuthError(PublishError):
    """No token, or a token without write access."""
