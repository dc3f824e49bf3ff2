"""Several trainer processes as one: each holds a replica of the model and takes part of every step.

There is no DistributedDataParallel around the model. Replicas hold different numbers of
micro-batches, and one may redo its own after running out of memory; so gradients are summed once
a step, over all of them, instead of in hooks behind every backward. The sum is the gradient of one
process that saw every row, since each loss is divided by the supervised tokens of the whole step.

Transformers and accelerate are not to know: they would wrap the model and shard the plan's rows.
`keep_one_gpu` and `join`, which takes torchrun's variables out of the environment, leave them a
machine with one process and one device. Unverified on hardware: NCCL between
several GPUs; what runs here are gloo's replicas on a CPU.

It knows nothing of models, steps or checkpoints.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterable, MutableMapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import torch

from agent.trainer.failures import ReplicaLost, ReplicasDiffer

if TYPE_CHECKING:
    import torch.distributed as dist

TIMEOUT = timedelta(minutes=20)
"""Longest wait for the others in a step: what one replica does alone, such as a checkpoint, fits
in; one that vanished with its machine is noticed. Those of this machine are watched by torchrun."""

LOADING_TIMEOUT = timedelta(hours=6)
"""Longest wait before the first step: one machine may have to download the base model."""

BUCKET_NUMEL = 16 * 2**20
"""Gradients are summed in pieces of 64 MB in fp32: that is all the memory which it takes."""

_TORCHRUN_NAMES = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE",
    "ROLE_NAME",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def keep_one_gpu(environment: MutableMapping[str, str] = os.environ) -> None:
    """Hide all GPUs but this process's own, before anything touches CUDA.

    Transformers would spread one process over every GPU it sees (DataParallel).
    """
    local_rank = int(environment.get("LOCAL_RANK", "0"))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        environment["CUDA_VISIBLE_DEVICES"] = str(local_rank)
    elif local_rank < len(gpus := visible.split(",")):  # Too few of them the launcher refuses.
        environment["CUDA_VISIBLE_DEVICES"] = gpus[local_rank]


class Replicas:
    """This process among its replicas. Every method is called by all of them, in the same order,
    except `share`.

    Raises:
        ReplicaLost: from every method that waits for the others, if one of them is gone.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count
        self._environment: dict[str, str] = {}
        self._steps: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """True for the one that keeps the checkpoints and the adapter."""
        return self.rank == 0

    @property
    def is_first_on_machine(self) -> bool:
        """True for the one that prepares what all replicas of this machine read."""
        return int(self._environment.get("LOCAL_RANK", "0")) == 0

    @classmethod
    def alone(cls) -> Self:
        """One process: nothing is waited for, nothing distributed is loaded."""
        return cls()

    @classmethod
    def join(cls) -> Self:
        """What torchrun's variables say, which are gone afterwards; alone without torchrun."""
        if "RANK" not in os.environ:
            return cls.alone()
        replicas = cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        for name in _TORCHRUN_NAMES:
            if name in os.environ:
                replicas._environment[name] = os.environ.pop(name)
        return replicas

    def meet(self) -> None:
        """Connect to the others, before any other call that waits for them.

        From here on transformers saves models on the first replica only.
        """
        if self.count == 1:
            return
        import torch.distributed as dist

        os.environ.update(self._environment)
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        try:
            with _Waiting(self, "the meeting of the replicas"):
                dist.init_process_group("gloo", timeout=LOADING_TIMEOUT)
                self._steps = dist.new_group(backend=backend, timeout=TIMEOUT)
        finally:
            for name in self._environment:
                del os.environ[name]

    def share(self, weights: Sequence[int]) -> list[int]:
        """Which items are this replica's, in their order; together all, each once.

        Heaviest first, each to the replica with the least: all of them come to the same shares
        without a word. With fewer items than replicas some get none.
        """
        loads = [(0, rank) for rank in range(self.count)]
        mine = []
        for index in sorted(range(len(weights)), key=lambda item: (-weights[item], item)):
            load, rank = heapq.heappop(loads)
            heapq.heappush(loads, (load + weights[index], rank))
            if rank == self.rank:
                mine.append(index)
        return sorted(mine)

    def wait_for_all(self) -> None:
        """Return once every replica has called this; a download of the model may lie before."""
        if self.count > 1:
            import torch.distributed as dist

            with _Waiting(self, "loading the base model"):
                dist.barrier()

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients over all replicas, in place; a replica without rows adds nothing."""
        if self.count > 1:
            for bucket in _buckets([p for p in parameters if p.requires_grad]):
                self._add_bucket(bucket)

    def _add_bucket(self, bucket: list[torch.nn.Parameter]) -> None:
        flat = torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad).to(torch.float32).flatten()
                for p in bucket
            ]
        )
        self._reduce(flat, "SUM", "the gradients")
        for parameter, total in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
            gradient = total.view_as(parameter).to(parameter.dtype)
            if parameter.grad is None:
                parameter.grad = gradient.clone()
            else:
                parameter.grad.copy_(gradient)

    def total(self, value: float) -> float:
        """The sum over all replicas, in fp64."""
        return self._reduce_number(value, "SUM")

    def any(self, flag: bool) -> bool:
        """True everywhere if it is true of one."""
        return self._reduce_number(float(flag), "MAX") > 0

    def from_first(self, content: bytes) -> bytes:
        """What the first replica gives here; the others' is ignored."""
        if self.count == 1:
            return content
        import torch.distributed as dist

        size = torch.tensor([len(content)], dtype=torch.int64, device=_device())
        with _Waiting(self, "the first replica's word"):
            dist.broadcast(size, src=0, group=self._steps)
            received = torch.empty(int(size.item()), dtype=torch.uint8, device=_device())
            if self.is_first:
                received.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            dist.broadcast(received, src=0, group=self._steps)
        return received.cpu().numpy().tobytes()

    def require_equal(self, parameters: Iterable[torch.Tensor]) -> str:
        """The sha256 of these values, the same on every replica.

        Raises:
            ReplicasDiffer: they have drifted apart; what is trained from here on is worth nothing.
        """
        digest = sha256_of(parameters)
        first = self.from_first(digest.encode()).decode()
        if self.any(digest != first):
            raise ReplicasDiffer(f"replica {self.rank} holds {digest}, the first {first}")
        return digest

    def leave(self) -> None:
        """Part from the others once all have come here."""
        if self.count > 1:
            import torch.distributed as dist

            with _Waiting(self, "the end"):
                dist.barrier()
            dist.destroy_process_group()

    def _reduce_number(self, value: float, operation: str) -> float:
        if self.count == 1:
            return value
        number = torch.tensor([value], dtype=torch.float64, device=_device())
        self._reduce(number, operation, "a number")
        return float(number.item())

    def _reduce(self, tensor: torch.Tensor, operation: str, what: str) -> None:
        import torch.distributed as dist

        with _Waiting(self, what):
            dist.all_reduce(tensor, op=getattr(dist.ReduceOp, operation), group=self._steps)
            if tensor.is_cuda:
                # Else NCCL's errors would surface anywhere behind.
                torch.cuda.synchronize()


class _Waiting:
    """Around a call that needs the others: its failure is the loss of one of them."""

    def __init__(self, replicas: Replicas, what: str) -> None:
        self._replicas = replicas
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # gloo raises a plain RuntimeError; NCCL and the store have subclasses of it.
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
            who = f"replica {self._replicas.rank} of {self._replicas.count}"
            raise ReplicaLost(f"{who} lost another one at {self._what}: {error}") from error


def sha256_of(tensors: Iterable[torch.Tensor]) -> str:
    """Hash of the values' bytes, one tensor after the other."""
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().to("cpu").contiguous().flatten()
        digest.update(memoryview(flat.view(torch.uint8).numpy().data))
    return digest.hexdigest()


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    buckets: list[list[torch.nn.Parameter]] = []
    room = 0
    for parameter in parameters:
        if not buckets or parameter.numel() > room:
            buckets.append([])
            room = BUCKET_NUMEL
        buckets[-1].append(parameter)
        room -= parameter.numel()
    return buckets


def _device() -> torch.device:
    """Where numbers for the others lie: NCCL takes them from the GPU only."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
