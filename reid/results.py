"""What a re-ID training leaves as `results.json`: plain JSON values, fractions in [0, 1]."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from reid.metrics import Evaluation

SCHEMA = 1
RANKS = (1, 5, 10, 20)


def results(
    evaluation: Evaluation,
    *,
    query_pids: Integer[np.ndarray, " q"],
    query_camids: Integer[np.ndarray, " q"],
    num_gallery: int,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    images_seen: int,
    iterations: int,
    seconds: float,
) -> dict[str, Any]:
    """The content of `results.json`; per query, `ap` and `rank1` are null where the query has no match."""
    assert len(evaluation.cmc) >= max(RANKS), "evaluate with max_rank of at least 20"
    return {
        "schema": SCHEMA,
        "mAP": evaluation.mAP,
        "cmc": {str(rank): float(evaluation.cmc[rank - 1]) for rank in RANKS},
        "mINP": evaluation.mINP,
        "per_query": {
            "pid": query_pids.tolist(),
            "camid": query_camids.tolist(),
            "ap": nullable(evaluation.ap),
            "rank1": [None if hit is None else int(hit) for hit in nullable(evaluation.rank1)],
        },
        "num_query": len(query_pids),
        "num_gallery": num_gallery,
        "config": dict(config),
        "provenance": dict(provenance),
        "images_seen": images_seen,
        "iterations": iterations,
        "seconds": seconds,
    }


def nullable(values: Float[np.ndarray, " q"]) -> list[float | None]:
    """NaN is no JSON."""
    return [None if np.isnan(value) else float(value) for value in values]
