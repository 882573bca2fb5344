"""Many machines: a plan of shards, a shard at a time by any scheduler, Dask as the scheduler that is built in."""
