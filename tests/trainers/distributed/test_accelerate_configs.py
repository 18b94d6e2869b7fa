"""The ready accelerate configurations, as far as they load where there is no GPU: accelerate's own reading of them."""

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, DistributedType, FullyShardedDataParallelPlugin, patch_environment
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.fsdp import OffloadPolicy

from modeling_prompt_clip.prompted_layers import PromptCLIPEncoderLayer
from trainers.configs.recipes import recipe_names
from trainers.distributed.launch import launch_file, launch_names

KINDS = {
    "one_gpu": DistributedType.NO,
    "ddp": DistributedType.MULTI_GPU,
    "fsdp2": DistributedType.FSDP,
    "deepspeed_zero2": DistributedType.DEEPSPEED,
    "multi_node": DistributedType.MULTI_GPU,
    "two_cpu_processes": DistributedType.MULTI_GPU,  # MULTI_CPU would start one process
}
SEVERAL = sorted(set(KINDS) - {"one_gpu"})


def launch_args(name, *options):
    """What `accelerate launch --config_file NAME OPTIONS -m trainers.two_stage` makes of its arguments."""
    command = ["--config_file", str(launch_file(name)), *options, "-m", "trainers.two_stage", "--config", "cuhk_pedes"]
    return _validate_launch_command(launch_command_parser().parse_args(command))[0]


def test_every_configuration_is_known_here_and_is_no_recipe():
    assert launch_names() == sorted(KINDS)
    assert not set(launch_names()) & set(recipe_names())


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_it_as_meant(name):
    config = load_config_from_file(str(launch_file(name)))
    assert config.distributed_type == KINDS[name]
    assert config.mixed_precision is None  # the run's own setting decides
    assert config.use_cpu == (name == "two_cpu_processes")


@pytest.mark.parametrize("name", SEVERAL)
def test_a_launch_of_several_never_takes_the_simple_launcher(name):
    args = launch_args(name, "--num_processes", "4")
    assert args.multi_gpu or args.use_fsdp or args.use_deepspeed
    assert not args.cpu
    assert args.num_processes == 4
    assert (args.training_script, args.training_script_args) == ("trainers.two_stage", ["--config", "cuhk_pedes"])


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "deepspeed_zero2", "multi_node"])
def test_accelerate_asks_for_the_number_of_gpus(name):
    with pytest.raises(ValueError, match="--num_processes"):
        launch_args(name)


def test_one_gpu_takes_the_simple_launcher():
    args = launch_args("one_gpu")
    assert args.num_processes == 1
    assert not (args.multi_gpu or args.use_fsdp or args.use_deepspeed or args.cpu)


def test_fsdp2_becomes_a_plugin_that_cuts_our_layers():
    environment = prepare_multi_gpu_env(launch_args("fsdp2", "--num_processes", "2"))
    with patch_environment(**{key: value for key, value in environment.items() if key.startswith("FSDP_")}):
        plugin = FullyShardedDataParallelPlugin()
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    assert plugin.fsdp_version == 2
    assert plugin.transformer_cls_names_to_wrap == [PromptCLIPEncoderLayer.__name__]
    assert plugin.reshard_after_forward is True
    assert type(plugin.cpu_offload) is OffloadPolicy
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert not plugin.cpu_ram_efficient_loading


def test_deepspeed_becomes_a_stage_two_plugin():
    args = launch_args("deepspeed_zero2", "--num_processes", "2")
    args.deepspeed_fields_from_accelerate_config = ""
    _, environment = prepare_deepspeed_cmd_env(args)
    keys = [key for key in environment if key.startswith("ACCELERATE_")]
    with patch_environment(**{key: environment[key] for key in keys}):
        config = DeepSpeedPlugin().deepspeed_config
    assert config["zero_optimization"]["stage"] == 2
    assert config["gradient_clipping"] == 1.0
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "none"


def test_machines_meet_where_they_are_told_to():
    options = ("--num_processes", "8", "--num_machines", "2", "--machine_rank", "1", "--main_process_ip", "10.0.0.1")
    args = launch_args("multi_node", *options)
    prepare_multi_gpu_env(args)
    assert (args.nproc_per_node, args.nnodes, args.node_rank) == ("4", "2", 1)
    assert args.rdzv_endpoint == "10.0.0.1:29500"
