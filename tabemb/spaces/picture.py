"""A figure that a notebook shows by itself. It imports matplotlib, which is optional."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that shows itself in a notebook, also as the first one of a session.

    Notebooks draw other figures only once pyplot has been imported.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
