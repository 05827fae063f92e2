"""One task for many cases: those that fail are named together, each with its file and the reason."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..readers.reasons import in_words
from ..run.errors import origin, ours

NAMED = 100  # cases in a message
Item = TypeVar("Item")
Result = TypeVar("Result")


class Failed(NamedTuple):
    """Why a task failed for a case, with the name of its file or case."""

    message: str


def try_each(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    case_of: Callable[[Item], Mapping[str, Any]],
    threads: int = 1,
) -> Generator[Result | Failed, None, None]:
    """Run a task for each item, in their order; one that fails gives ``Failed`` and stops no other.

    Args:
        task: runs in several threads if there are more than one.
        items: what the task takes.
        case_of: the case of an item, a dict of files with ``case``, for the message.
        threads: number of items that are worked on at the same time.

    Raises:
        MemoryError: because every other item would fail as well.
    """

    def attempt(item: Item) -> Result | Failed:
        try:
            return task(item)
        except MemoryError:
            raise
        except Exception as error:  # readers raise dozens of types; the user needs the file and the reason
            return Failed(message_of(case_of(item), error))

    if threads <= 1:
        yield from map(attempt, items)
    else:
        with ThreadPool(threads) as pool:
            yield from pool.imap(attempt, items)


def message_of(case: Mapping[str, Any], error: BaseException) -> str:
    """Return why a case failed, with the file or the case by name."""
    cause = origin(error)  # MONAI wraps what a transform raises
    text = str(cause) if ours(cause) else f"cannot be read: {in_words(cause)}"
    files = [Path(value).name for value in case.values() if isinstance(value, (str, Path)) and str(value)]
    names = [str(case.get("case", "")), *files]
    if any(name and name in text for name in names):
        return text
    return f"{case.get('image', case.get('case', 'a case'))}: {text}"


def refuse_failed(results: Iterable[Any], total: int, what: str = "cases") -> None:
    """Raise one error that names everything that failed.

    Args:
        results: of ``try_each``; those that did not fail are ignored.
        total: number of cases.
        what: word for the cases.

    Raises:
        ValueError: if anything failed; its message has one line per failure.
    """
    messages: Sequence[str] = [each.message for each in results if isinstance(each, Failed)]
    if messages:
        raise ValueError(f"{len(messages)} of {total} {what} cannot be used:{listed(messages)}")


def listed(messages: Sequence[str]) -> str:
    """Messages as they follow a colon: one line each, of very many the first hundred."""
    more = f"\n  ... and {len(messages) - NAMED} more" if len(messages) > NAMED else ""
    return "".join(f"\n  {message}" for message in messages[:NAMED]) + more
