"""Synchronous SGD on Spark: the result depends on data, seed, batch size, shards and threads per shard, nothing else.

Reading order: `run` (the driver), `shards` (the first job: samples into files), `group` (runs the gang, again if need
be), `gang` and `rank` (the training tasks), `recovery` (how a rank comes to the state of the others),
`course` (validation, snapshots, resuming), `rendezvous` and `link` (how they meet), `collective` (how they sum).
Where samples wait: `cache` (levels, folders), `epochs` (the level without files between them), `forecast`.
Job mode, the other way to run: `job_mode` (design and driver), `job_sync` (what its iterations are to the training
loop), `job_graph` (its RDDs), `job_tasks` and `job_answers` (its tasks), `homes` (where shards lie).
"""

from nnframes.distributed.arrow import column_values
from nnframes.distributed.run import fit_on_spark
from nnframes.distributed.samples import SampleBlock, SamplePlan
from nnframes.distributed.settings import FitSettings, ReplicaSource, TrainResult
from nnframes.distributed.summary import DataSummary

__all__ = [
    "DataSummary",
    "FitSettings",
    "ReplicaSource",
    "SampleBlock",
    "SamplePlan",
    "TrainResult",
    "column_values",
    "fit_on_spark",
]
