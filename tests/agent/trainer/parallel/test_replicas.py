"""Two processes that meet over gloo, as torchrun would have them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.trainer.failures import ReplicaLost, ReplicasDiffer
from agent.trainer.parallel.checkpoint_exchange import agree_on_checkpoint
from agent.trainer.parallel.replicas import Replicas, keep_one_gpu
from shared import manifest

Work = Callable[[Replicas], Any]


def run_replica(rank: int, port: int, work: Work, answer: Connection) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    replicas = Replicas.join()
    assert "RANK" not in os.environ, "transformers would find torchrun's variables"
    try:
        replicas.meet()
        answer.send(work(replicas))
    except (ReplicaLost, ReplicasDiffer) as error:
        answer.send(error)
    os._exit(0)


def on_two(work: Work) -> list[Any]:
    """What `work` gives on either replica; None from one that was killed."""
    # Forked, so that torch need not be imported anew; nothing of torch runs threads here yet.
    forking = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = []
    for rank in range(2):
        reader, writer = forking.Pipe(duplex=False)
        process = forking.Process(target=run_replica, args=(rank, port, work, writer))
        process.start()
        writer.close()
        answers.append((process, reader))
    given = []
    for process, reader in answers:
        try:
            given.append(reader.recv() if reader.poll(60) else "no answer")
        except EOFError:
            given.append(None)
        process.kill()
        process.join()
    return given


def test_items_are_shared_out_by_weight_and_each_goes_to_one_replica() -> None:
    weights = [100, 700, 200, 650, 300, 50]
    shares = [Replicas(rank, 2).share(weights) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(6))
    assert [sum(weights[i] for i in share) for share in shares] == [1000, 1000]
    assert [Replicas(rank, 3).share([5, 9]) for rank in range(3)] == [[1], [0], []]


def test_one_process_has_everything_and_waits_for_nobody() -> None:
    alone = Replicas.alone()
    assert alone.is_first
    assert alone.share([3, 1, 2]) == [0, 1, 2]
    parameter = torch.nn.Parameter(torch.ones(2))
    alone.add_gradients([parameter])
    assert parameter.grad is None
    assert (alone.total(2.5), alone.any(False), alone.from_first(b"x")) == (2.5, False, b"x")
    alone.wait_for_all()
    alone.leave()


def test_gradients_and_numbers_are_summed_and_a_replica_without_rows_adds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.trainer.parallel.replicas.BUCKET_NUMEL", 5)

    def work(replicas: Replicas) -> Any:
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (3,), (7,))]
        if replicas.is_first:
            for parameter in parameters:
                parameter.grad = torch.arange(float(parameter.numel())).view_as(parameter)
        replicas.add_gradients(parameters)
        replicas.wait_for_all()
        digest = replicas.require_equal(p.grad for p in parameters if p.grad is not None)
        flags = replicas.any(not replicas.is_first), replicas.any(False)
        said = replicas.from_first(b"first" if replicas.is_first else b"me, too")
        total = replicas.total(0.1 + replicas.rank)
        environment = "RANK" in os.environ
        replicas.leave()
        gradients = [
            parameter.grad.tolist() for parameter in parameters if parameter.grad is not None
        ]
        return gradients, digest, flags, said, total, environment

    first, second = on_two(work)
    assert first == second
    gradients, digest, flags, said, total, environment = first
    assert gradients == [[[0, 1], [2, 3]], [0, 1, 2], [0, 1, 2, 3, 4, 5, 6]]
    assert (len(digest), flags, said, total) == (64, (True, False), b"first", 1.2000000000000002)
    assert not environment


def test_replicas_that_have_drifted_apart_stop_all_of_them() -> None:
    def work(replicas: Replicas) -> Any:
        return replicas.require_equal([torch.full((4,), 1 + 1e-7 * replicas.rank)])

    assert [type(answer) for answer in on_two(work)] == [ReplicasDiffer, ReplicasDiffer]


def test_a_replica_that_is_gone_is_noticed_by_the_other() -> None:
    def work(replicas: Replicas) -> Any:
        if not replicas.is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        return replicas.total(1.0)

    lost, killed = on_two(work)
    assert isinstance(lost, ReplicaLost)
    assert "replica 0 of 2 lost another one" in str(lost)
    assert killed is None


@pytest.mark.parametrize("is_shared", [True, False])
def test_the_first_replicas_checkpoint_is_everybodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    monkeypatch.setattr("agent.trainer.parallel.checkpoint_exchange._PIECE_BYTES", 1000)

    def write(partial: Path) -> dict[str, Any]:
        (partial / "parameters.safetensors").write_bytes(os.urandom(2500))
        (partial / "empty.json").touch()
        return {"step": 7}

    def work(replicas: Replicas) -> Any:
        machine = tmp_path / ("0" if is_shared else str(replicas.rank))
        found = tmp_path / "0" / "step-00000007" if replicas.is_first else None
        if replicas.is_first:
            manifest.commit(tmp_path / "0" / "step-00000007", write)
        replicas.wait_for_all()
        if not replicas.is_first and not is_shared:
            # As it looks from another machine.
            monkeypatch.setattr(
                "agent.trainer.parallel.checkpoint_exchange._is_there",
                lambda path, sha256: path.is_relative_to(machine) and path.exists(),
            )
        agreed = agree_on_checkpoint(replicas, found, machine)
        assert agreed is not None
        replicas.leave()
        return str(agreed.relative_to(tmp_path)), manifest.verify(agreed)

    first, second = on_two(work)
    assert first[0] == "0/step-00000007"
    assert second[0] == ("0" if is_shared else "1") + "/step-00000007"
    assert first[1] == second[1]


def test_without_a_checkpoint_of_the_first_replica_all_begin_anew(tmp_path: Path) -> None:
    def work(replicas: Replicas) -> Any:
        return agree_on_checkpoint(replicas, None, tmp_path)

    assert on_two(work) == [None, None]


@pytest.mark.parametrize(
    ("local_rank", "visible", "kept"),
    [
        (0, None, "0"),
        (3, None, "3"),
        (1, "4,6", "6"),
        (0, "GPU-1a,GPU-2b", "GPU-1a"),
        (0, "", ""),
        (1, "0", "0"),
    ],
)
def test_each_replica_sees_its_own_gpu_only(
    local_rank: int, visible: str | None, kept: str
) -> None:
    environment = {"LOCAL_RANK": str(local_rank)}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    keep_one_gpu(environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == kept
