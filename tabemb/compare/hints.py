"""Hints in error messages: the known names that are most similar to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable

from tabemb.hints import similar

N_LISTED = 12


def did_you_mean(
    name: object, known: Iterable[object], what: str = "there are", lists_all: bool = False
) -> str:
    """Return a hint for an error message about an unknown name, to be put in parentheses.

    Parameters
    ----------
    name : object
        The unknown name.
    known : iterable
        The names that exist.
    what : str
        How the list of names begins.
    lists_all : bool, default=False
        Whether to list all names, if there are few. Otherwise the first ones are listed, and only if
        no name is similar to the unknown one.

    Returns
    -------
    str
        ``"did you mean 'price'?"``, or a list of names, or both.

    Examples
    --------
    >>> did_you_mean("prize", ["price", "zip"])
    "did you mean 'price'?"
    >>> did_you_mean("x", ["price", "zip"], "it has")
    "it has 'price', 'zip'"
    >>> did_you_mean("prize", ["price", "zip"], lists_all=True)
    "did you mean 'price'? there are 'price', 'zip'"
    """
    names = [str(one) for one in known]
    near = similar(name, names)
    question = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
    if near and not lists_all:
        return question
    n_listed = len(names) if lists_all else N_LISTED
    rest = f" and {len(names) - n_listed} more" if len(names) > n_listed else ""
    return f"{question} {what} {', '.join(map(repr, names[:n_listed]))}{rest}".lstrip()
