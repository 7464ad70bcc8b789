"""Which gallery images a query is searched among: all but those of its own person from its own camera.

That rule (Zheng et al., ICCV 2015) needs cameras. An image whose camera is unknown is never taken for one of the
query's: it stays in the search. So nothing is removed where no camera is known, images of the same moment and place
count as matches, and the scores are higher than, and not comparable with, those of a search across cameras.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from augment.data.records import UNKNOWN_CAMERA, DataSet, Record

UNKNOWN_TO_QUERY = UNKNOWN_CAMERA - 1  # of a query: another number than any gallery image has


def cameras(
    query: Sequence[Record], gallery: Sequence[Record]
) -> tuple[Int64[np.ndarray, " q"], Int64[np.ndarray, " g"]]:
    """The numbers to evaluate with: the cameras', but an unknown one of a query is no gallery image's."""
    theirs = (UNKNOWN_TO_QUERY if record.camid == UNKNOWN_CAMERA else record.camid for record in query)
    return (
        np.fromiter(theirs, np.int64, len(query)),
        np.fromiter((record.camid for record in gallery), np.int64, len(gallery)),
    )


def unmatched(dataset: DataSet) -> tuple[Record, ...]:
    """The queries that nothing can be found for, which are not scored."""
    query_cameras, gallery_cameras = cameras(dataset.query, dataset.gallery)
    seen: defaultdict[int, set[int]] = defaultdict(set)
    for record, camera in zip(dataset.gallery, gallery_cameras.tolist(), strict=True):
        seen[record.pid].add(camera)
    return tuple(
        record
        for record, camera in zip(dataset.query, query_cameras.tolist(), strict=True)
        if not seen[record.pid] - {camera}
    )
