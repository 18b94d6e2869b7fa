"""Shared by all tests: a quiet, offline, single-threaded session, tiny CLIPs, and a Hub."""

import os

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TRANSFORMERS_VERBOSITY="error",  # before the import: no load reports, no notes about torchvision
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)

import gc  # noqa: E402
import json  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tokenizers.pre_tokenizers import ByteLevel  # noqa: E402

if TYPE_CHECKING:
    from hub_process import HubHandle

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()

MERGES = ["m a", "ma n</w>", "a n</w>", "r e", "re d</w>", "i n</w>"]
CAPTIONS = ["a man", "a man in red", "the woman walks in a long blue coat", "red"]


def pytest_configure(config: pytest.Config) -> None:
    """Ignore warnings about two deprecated attributes that PEFT 0.21 still uses."""
    for name in ("is_gradient_checkpointing", "gradient_checkpointing_enable"):
        config.addinivalue_line("filterwarnings", f"ignore:`{name}` is deprecated:FutureWarning")


def pytest_collection_finish() -> None:
    """Spare later collections the libraries and tests: Accelerate collects twice a run, half a second each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def unsynced_files() -> Iterator[None]:
    """Spare tests the wait for the disk: a killed process loses nothing by it, only a machine without power does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def save_clip_tokenizer(folder: Path) -> int:
    """Write `vocab.json` and `merges.txt` of a byte-level CLIP tokenizer with a few merges; return its vocabulary."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge.split()) for merge in MERGES)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    settings = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(tokens)


def clip_config_dict(vocab_size: int, **vision: object) -> dict:
    """`config.json` as `openai/clip-vit-base-patch16` has it, legacy token ids and all, at a tiny size."""
    shared = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": "quick_gelu", "torch_dtype": None}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_position_embeddings": 77,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    image = {"model_type": "clip_vision_model", "hidden_size": 48, "intermediate_size": 96, "image_size": 64}
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": 24,
        "logit_scale_init_value": 2.6592,
        "initializer_factor": 1.0,
        "text_config": {**shared, **text},
        "text_config_dict": None,
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": {**shared, **image, "patch_size": 16, **vision},
        "vision_config_dict": None,
    }


def spread_weights(model: torch.nn.Module, std: float = 0.15) -> None:
    """Redraw all matrices so that every tensor of the tiny model affects its features."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)


@pytest.fixture(scope="session")
def tiny_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain CLIP checkpoint in the format of `openai/clip-vit-base-patch16`: 64x64 images, 16-pixel patches."""
    folder = tmp_path_factory.mktemp("models") / "tiny_clip"
    folder.mkdir()
    config = clip_config_dict(save_clip_tokenizer(folder))
    (folder / "config.json").write_text(json.dumps(config))
    preprocessor = {
        "crop_size": 64,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 64,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the same model in every run, whichever test asks for it first
        model = transformers.CLIPModel(transformers.CLIPConfig.from_pretrained(folder))
    spread_weights(model)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for tower, length in (("text_model", 77), ("vision_model", 17)):  # old versions of transformers saved these
        tensors[f"{tower}.embeddings.position_ids"] = torch.arange(length)[None]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tiny_clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PromptCLIP folder without prompts, processor included: the tiny CLIP at 96x32."""
    from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor

    folder = tmp_path_factory.mktemp("models") / "tiny_prompt_clip"
    PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32)).save_pretrained(folder)
    PromptCLIPProcessor.from_clip(tiny_clip_folder, image_size=(96, 32)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter_folder(tiny_clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with strong prompts for the tiny CLIP at 96x32, which it names as its base model."""
    from peft import get_peft_model

    from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel

    base = PromptCLIPModel.from_clip(tiny_clip_folder, image_size=(96, 32))
    torch.manual_seed(5)
    config = ClipPromptConfig(text_prompt_length=3, vision_prompt_length=5, init_std=1.0)
    folder = tmp_path_factory.mktemp("models") / "tiny_adapter"
    get_peft_model(base, config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def input_ids(tiny_clip_folder: Path) -> torch.Tensor:
    """Captions of four lengths, padded to the longest as CLIP's tokenizer pads, `(4, tokens)`."""
    tokenizer = transformers.CLIPTokenizer.from_pretrained(tiny_clip_folder)
    return tokenizer(CAPTIONS, padding=True, return_tensors="pt")["input_ids"]


@pytest.fixture(scope="session")
def pixel_values() -> torch.Tensor:
    """Four images for a 96x32 model, `(4, 3, 96, 32)`."""
    return torch.randn(4, 3, 96, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def square_pixel_values() -> torch.Tensor:
    """Four images for a 64x64 model, `(4, 3, 64, 64)`."""
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Three colourful pictures of different sizes."""
    generator = torch.Generator().manual_seed(3)
    sizes = [(144, 48), (64, 64), (100, 230)]
    noise = [torch.randint(256, (*size, 3), generator=generator, dtype=torch.uint8) for size in sizes]
    return [Image.fromarray(pixels.numpy()) for pixels in noise]


@pytest.fixture(scope="session")
def hub_process() -> Iterator["HubHandle"]:
    """A Hub in a process of its own, at one address for all tests."""
    from hub_process import running_hub

    with running_hub() as handle:
        yield handle


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub_process: "HubHandle") -> Iterator["HubHandle"]:
    """An empty Hub, which `huggingface_hub` in this process talks to as alice, retrying without pauses."""
    from huggingface_hub import close_session, constants, hf_api
    from huggingface_hub.utils import _http
    from transformers.utils import hub as transformers_hub

    hub_process.clear()
    url = hub_process.url
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(hf_api.api, "endpoint", url)
    monkeypatch.setattr(transformers_hub, "_hf_api", None)  # made at its first use, with the endpoint of that time
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", hub_process.token)
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("dataset_scripts.common.hub.PAUSES", (0.0, 0.0))
    yield hub_process
    close_session()
