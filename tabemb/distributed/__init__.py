"""Fits on several processes and machines, under torchrun, Ray or Spark."""

from tabemb.distributed.group import workers
from tabemb.distributed.launch import fit

__all__ = ["fit", "workers"]
