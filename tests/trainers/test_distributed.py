import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from trainers.distributed import gather_ids, gather_with_gradient, world_size
from trainers.objectives import CombinedObjective

PAIRS, WIDTH, DIM, PERSONS = 12, 10, 6, 5


def towers_and_data():
    """Two small linear towers, an objective with a head, and a batch; the same on every call."""
    torch.manual_seed(0)
    towers = torch.nn.ModuleDict({"image": torch.nn.Linear(WIDTH, DIM), "text": torch.nn.Linear(WIDTH, DIM)})
    objective = CombinedObjective(
        {"sdm": 1.0, "itc": 0.5, "tal": 0.3, "id": 0.7}, embedding_dim=DIM, num_identities=PERSONS
    )
    images, texts = torch.randn(PAIRS, WIDTH), torch.randn(PAIRS, WIDTH)
    return (
        torch.nn.ModuleDict({"towers": towers, "objective": objective}),
        images,
        texts,
        torch.arange(PAIRS) % PERSONS,
    )


class GlobalLoss(torch.nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, images, texts, labels):
        towers = self.parts["towers"]
        embeds = (towers["image"](images), towers["text"](texts))
        image, text = (gather_with_gradient(torch.nn.functional.normalize(embed, dim=-1)) for embed in embeds)
        ids = gather_ids(labels)
        return self.parts["objective"](image, text, ids, labels=ids)[0]


def gradients(rank, world, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    parts, images, texts, labels = towers_and_data()
    share = slice(rank * PAIRS // world, (rank + 1) * PAIRS // world)
    module = DistributedDataParallel(GlobalLoss(parts))
    loss = module(images[share], texts[share], labels[share])
    loss.backward()
    names = {name.removeprefix("module."): value.grad for name, value in module.named_parameters()}
    torch.save({"loss": loss.detach(), "world": world_size(), "grads": names}, f"{folder}/rank_{rank}.pt")
    distributed.destroy_process_group()


def test_loss_and_gradients_on_two_ranks_equal_one_process(tmp_path):
    parts, images, texts, labels = towers_and_data()
    module = GlobalLoss(parts)
    loss = module(images, texts, labels)
    loss.backward()
    multiprocessing.spawn(gradients, args=(2, str(tmp_path)), nprocs=2)
    for rank in range(2):
        there = torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True)
        assert there["world"] == 2
        torch.testing.assert_close(there["loss"], loss.detach(), rtol=1e-5, atol=0)
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(there["grads"][name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_without_processes_nothing_is_copied():
    embeds, ids = torch.randn(3, 2), torch.arange(3)
    assert gather_with_gradient(embeds) is embeds
    assert gather_ids(ids) is ids
    assert world_size() == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_own_slice_gets_the_gradient(rank, monkeypatch):
    """The backward of the gather picks this rank's rows of the summed gradient."""
    gathered = torch.arange(8.0).reshape(4, 2)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "all_gather", lambda parts, own: [part.copy_(own) for part in parts])
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    own = torch.zeros(2, 2, requires_grad=True)
    (gather_with_gradient(own) * gathered).sum().backward()
    torch.testing.assert_close(own.grad, 2 * gathered[2 * rank : 2 * rank + 2])
