"""Hints in error messages: the names most like the one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from tabemb.hints import similar

N_LISTED = 30
"""Names up to which all are listed."""


def did_you_mean(name: object, known: Iterable[object], what: str = "there are") -> str:
    """Return a hint for an error message about an unknown name, to stand in parentheses.

    Parameters
    ----------
    name : object
        The unknown name.
    known : iterable
        The names that exist.
    what : str
        How the list of names begins.

    Returns
    -------
    str
        The names like the unknown one, and all that exist; of more than 30 the first ones, where none
        is like it.

    Examples
    --------
    >>> did_you_mean("prize", ["price", "zip"])
    "did you mean 'price'? there are 'price', 'zip'"
    >>> did_you_mean("x", ["price", "zip"], "it has")
    "it has 'price', 'zip'"
    """
    names = [str(one) for one in known]
    near = similar(name, names)
    question = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
    if near and len(names) > N_LISTED:
        return question
    rest = f" and {len(names) - N_LISTED} more" if len(names) > N_LISTED else ""
    return f"{question} {what} {', '.join(map(repr, names[:N_LISTED]))}{rest}".lstrip()
