"""The processes that train one model together: who computes what, and how their gradients become one.

Each process holds the whole adapter and computes some of a step's micro-batches; gradients are summed once a step. A step
is thereby the same as in one process, up to the rounding of that sum, and so is a checkpoint. The frozen base is either
whole in each process or, sharded, divided over them by layers (FSDP2: Zhao et al., "PyTorch FSDP", 2023); it has no
gradients, so nothing but its weights is ever gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState

from delivery.artifacts import TrainingPlan
from delivery.errors import ConfigError
from delivery.training.ranks import divide


@dataclass(frozen=True, slots=True)
class World:
    """This process among all that train together."""

    rank: int = 0
    size: int = 1
    sharded: bool = False

    @classmethod
    def join(cls, plan: TrainingPlan) -> World:
        """Meet the others, where torchrun started some."""
        state = PartialState(cpu=plan.machine.device == "cpu")
        if state.device.type == "cuda":
            torch.cuda.set_device(state.device)
        return cls(state.process_index, state.num_processes, plan.sharded and state.num_processes > 1)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, costs: Sequence[int]) -> list[int | None]:
        """The micro-batches to compute here, by number; None is a pass for the others' sake, who gather weights in it."""
        shares = divide(costs, self.size)
        idle = max(map(len, shares)) - len(shares[self.rank]) if self.sharded else 0
        return [*shares[self.rank], *[None] * idle]

    def agree(self, value: Any) -> Any:
        """What the first process says."""
        if self.size == 1:
            return value
        said = [value]
        torch.distributed.broadcast_object_list(said, src=0)
        return said[0]

    def sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Let every process have the sum of all processes' gradients."""
        if self.size == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
        torch.distributed.all_reduce(flat)
        for parameter, gradient in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad = gradient.view_as(parameter)


ALONE = World()


def shard_base(model: Any, world: World) -> None:
    """Divide the frozen weights of a model with an adapter over the processes, a layer at a time; the adapter stays whole.

    Raises:
        ConfigError: the base is in 4 bits, which cannot be divided so.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if any(not p.is_floating_point() for p in model.parameters()):
        raise ConfigError(
            "training: a 4-bit base cannot be divided over processes; set training.method lora or DELIVERY_SHARDED=false"
        )
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (world.size,))
    adapter = {p for p in model.parameters() if p.requires_grad}
    layers = set(model.get_base_model()._no_split_modules or ())
    for module in [m for m in model.modules() if type(m).__name__ in layers]:
        fully_shard(module, mesh=mesh, ignored_params=adapter)
    fully_shard(model, mesh=mesh, ignored_params=adapter)
