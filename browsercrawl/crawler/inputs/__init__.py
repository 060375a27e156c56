"""Where a job's first requests come from: a list, a file, a pipe, sitemaps; read so that a killed run can go on."""

from browsercrawl.crawler.inputs.pipe import Pipe, holds_input
from browsercrawl.crawler.inputs.seeds import BadURL, JobSeeds

__all__ = ["BadURL", "JobSeeds", "Pipe", "holds_input"]
