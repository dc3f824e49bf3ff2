from __future__ import annotations

from shared.dataset.clusters import Clusters


def test_a_chain_of_pairs_is_one_cluster_and_the_others_stay_alone() -> None:
    clusters = Clusters(6)
    for one, other in [(4, 3), (1, 4), (3, 5)]:
        clusters.join(one, other)
    assert clusters.all() == [[0], [1, 3, 4, 5], [2]]
    assert clusters.are_joined(1, 5)
    assert not clusters.are_joined(0, 5)
