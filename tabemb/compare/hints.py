"""Hints in error messages: the names most like the one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from tabemb.hints import similar

N_LISTED = 12


def did_you_mean(name: object, known: Iterable[object], what: str = "there are") -> str:
    """Return a hint for an error message about an unknown name, to stand in parentheses.

    Parameters
    ----------
    name : object
        The unknown name.
    known : iterable
        The names that exist.
    what : str
        How the list of names begins where none is like the unknown one.

    Returns
    -------
    str
        ``"did you mean 'price'?"``, or the first names.

    Examples
    --------
    >>> did_you_mean("prize", ["price", "zip"])
    "did you mean 'price'?"
    >>> did_you_mean("x", ["price", "zip"], "it has")
    "it has 'price', 'zip'"
    """
    names = [str(one) for one in known]
    near = similar(name, names)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    rest = ", ..." if len(names) > N_LISTED else ""
    return f"{what} {', '.join(map(repr, names[:N_LISTED]))}{rest}"
