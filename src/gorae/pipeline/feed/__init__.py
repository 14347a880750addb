"""Step ``bench feed``: how fast pictures reach the network."""

from gorae.pipeline.feed.step import FeedResult, bench_feed

__all__ = ["FeedResult", "bench_feed"]
