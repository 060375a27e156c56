"""The pool: what hands out leases on pages of warm browser contexts."""

from browsercrawl.pool.lease import Lease
from browsercrawl.pool.pool import Pool
from browsercrawl.pool.statistics import PoolStatistics
from browsercrawl.pool.stock import PoolSize

__all__ = ["Lease", "Pool", "PoolSize", "PoolStatistics"]
