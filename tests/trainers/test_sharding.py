"""FSDP2 over gloo on two CPU processes.

accelerate 1.15 makes DDP of FSDP on a CPU. One patch, of the function that chooses the backend, opens its FSDP2 code
to the CPU; everything else is accelerate's and torch's own, set by our `fsdp2` configuration.
"""

import os
import socket
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as multiprocessing
from accelerate import Accelerator
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import PartialState
from accelerate.utils import DistributedType, set_seed
from accelerate.utils.launch import prepare_multi_gpu_env
from peft import get_peft_model

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPConfig, PromptCLIPModel
from trainers.arguments import TwoStageTrainingArguments
from trainers.launch import launch_file
from trainers.objectives import CombinedObjective
from trainers.sharding import full_state_dict, leave_scalars_whole, whole_weights
from trainers.stage import StageLoop
from trainers.stage_module import StageModule

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
PAIRS, STEPS = 8, 3


def tiny_model(stage):
    set_seed(0)
    text = TOWER | {"vocab_size": 100, "bos_token_id": 98, "eos_token_id": 2}
    vision = TOWER | {"image_size": [64, 32], "patch_size": 16}
    model = PromptCLIPModel(PromptCLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    if stage == "one":
        return get_peft_model(model, ClipPromptConfig())
    model.requires_grad_(True)
    model.logit_scale.requires_grad_(False)
    return model


def batches(rank, world):
    draw = torch.Generator().manual_seed(5)
    share = slice(rank * PAIRS // world, (rank + 1) * PAIRS // world)
    for _ in range(STEPS):
        pixels = torch.randn(PAIRS, 3, 64, 32, generator=draw)
        ids = torch.randint(1, 98, (PAIRS, 12), generator=draw)
        ids[:, -1] = 99
        persons = torch.arange(PAIRS)
        names = ("person_ids", "labels", "image_ids")
        yield {"pixel_values": pixels[share], "input_ids": ids[share], **dict.fromkeys(names, persons[share])}


def train(accelerator, stage, folder):
    """Losses, a caption's embedding in the middle of it all, and the weights after a few steps."""
    settings = {"report_to": "none", "log_steps": 1, "output_dir": str(folder), "stage_two_learning_rate": 1e-3}
    # a large epsilon: Adam would blow the rounding of gradients that are zero in theory up to full steps
    args = TwoStageTrainingArguments(**settings, adam_epsilon=1e-2)
    objective = CombinedObjective({"sdm": 1.0, "id": 1.0}, embedding_dim=16, num_identities=PAIRS)
    module = StageModule(tiny_model(stage), objective)
    losses = []
    loop = StageLoop(
        accelerator,
        args,
        args.stage(stage),
        module,
        batches(accelerator.process_index, accelerator.num_processes),
        total_steps=STEPS,
        eval_steps=STEPS,
        evaluate=None,
        keep=lambda step: None,
        log=SimpleNamespace(write=lambda record: losses.append(record["loss"])),
    )
    loop.run()
    model = accelerator.unwrap_model(loop.module).model
    caption = torch.tensor([[98, 3, 4, 99]])
    with whole_weights(loop.module), torch.no_grad():
        embedding = model.get_text_features(caption).pooler_output
    return losses, embedding, full_state_dict(accelerator, loop.module)


def sharded(rank, stage, folder, port):
    torch.set_num_threads(1)
    command = ["--config_file", str(launch_file("fsdp2")), "--num_processes", "2", "train.py"]
    settings = prepare_multi_gpu_env(_validate_launch_command(launch_command_parser().parse_args(command))[0])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.update(settings | meeting | {"WORLD_SIZE": "2", "ACCELERATE_TORCH_DEVICE": "cpu"})
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    accelerator = Accelerator(mixed_precision="no")
    losses, embedding, weights = train(accelerator, stage, folder)
    answer = {"kind": accelerator.distributed_type.value, "losses": losses, "embedding": embedding, "weights": weights}
    torch.save(answer, folder / f"rank_{rank}.pt")
    accelerator.end_training()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["one", "two"])
def test_two_sharded_processes_train_as_one_whole(stage, tmp_path):
    losses, embedding, weights = train(Accelerator(cpu=True), stage, tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(sharded, args=(stage, tmp_path, port), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True) for rank in range(2))
    assert first["kind"] == "FSDP"
    for there in (first, second):
        torch.testing.assert_close(there["losses"], losses, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(there["embedding"], embedding, rtol=1e-3, atol=1e-4)
    assert first["weights"].keys() == weights.keys() and not second["weights"]
    for name, weight in weights.items():
        torch.testing.assert_close(first["weights"][name], weight, rtol=1e-3, atol=1e-5)


def test_a_trained_scalar_is_refused_and_without_fsdp_nothing_is():
    module = torch.nn.Linear(2, 2)
    module.temperature = torch.nn.Parameter(torch.tensor(1.0))
    leave_scalars_whole(SimpleNamespace(distributed_type=DistributedType.MULTI_CPU), module)
    plugin = SimpleNamespace()
    state = SimpleNamespace(fsdp_plugin=plugin)
    accelerator = SimpleNamespace(distributed_type=DistributedType.FSDP, state=state)
    with pytest.raises(ValueError, match="temperature is a trained scalar.*ddp"):
        leave_scalars_whole(accelerator, module)
    module.temperature.requires_grad_(False)
    leave_scalars_whole(accelerator, module)
    assert [parameter for part in plugin.ignored_modules for parameter in part.parameters()] == [module.temperature]


def test_a_whole_module_stays_as_it_is():
    module = torch.nn.Linear(2, 2)
    before = module.weight
    with whole_weights(module):
        assert module.weight is before
