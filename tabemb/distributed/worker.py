"""The command of a worker that torchrun starts: ``python -m tabemb.distributed.worker FOLDER``."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from tabemb.distributed.job import JOB, Job


@record
def main() -> None:
    """Run the job in a folder."""
    folder = Path(sys.argv[1])
    job: Job = pickle.loads((folder / JOB).read_bytes())  # by `engines.torchrun`, in a private folder
    job.run(folder)


if __name__ == "__main__":
    main()
