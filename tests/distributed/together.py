"""Run a function in several processes that communicate by gloo, as an engine would start them."""

import multiprocessing
import pickle
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist

from tabemb.training.workers import working_together

LONGEST = 300.0


def together(function, n_workers, folder, *args):
    """Call the function with the workers and ``args`` on each rank, and return the results."""
    context = multiprocessing.get_context("fork")
    jobs = [
        context.Process(target=_run, args=(function, rank, n_workers, folder, args))
        for rank in range(n_workers)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(LONGEST)
        job.kill()
    results = []
    for rank in range(n_workers):
        result, error = pickle.loads((folder / f"{rank}.result").read_bytes())
        assert error is None, error
        results.append(result)
    return results


def _run(function, rank, n_workers, folder, args):
    torch.set_num_threads(1)
    result = error = None
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/meet-{function.__name__}",
            rank=rank,
            world_size=n_workers,
            timeout=timedelta(seconds=120),
        )
        with working_together() as workers:
            result = function(workers, *args)
        dist.destroy_process_group()
    except BaseException:
        error = traceback.format_exc()
    (folder / f"{rank}.result").write_bytes(pickle.dumps((result, error)))
