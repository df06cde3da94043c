"""Concatenated ranges, such as the events of rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import torch
from torch import Tensor


def offsets_of(lengths: Tensor) -> Tensor:
    """Return the start of each range when ranges of these lengths are concatenated, and the end."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """Return the concatenated ranges of whole numbers with these starts and lengths."""
    shift = torch.repeat_interleave(starts - (lengths.cumsum(0) - lengths), lengths)
    return torch.arange(len(shift), device=shift.device) + shift


def cuts_before(first_rows: list[int], start: int, stop: int, longest: int) -> Iterator[int]:
    """Yield the rows where a sequence is cut: after ``longest`` rows if possible, between two times."""
    while start < stop:
        yield start
        if stop - start <= longest:
            return
        place = bisect_right(first_rows, start + longest)
        if first_rows[place - 1] > start:
            start = first_rows[place - 1]
        else:  # more rows at one time
            start = first_rows[place] if place < len(first_rows) else stop
