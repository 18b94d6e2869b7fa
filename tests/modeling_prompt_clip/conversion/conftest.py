import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modeling_prompt_clip.conversion import convert_checkpoint


class Block(nn.Module):
    """A layer of OpenAI's CLIP, from its published description (arXiv 2103.00020)."""

    def __init__(self, width, causal, head_width=64, gelu=False):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // head_width)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.causal = causal
        self.activation = nn.functional.gelu if gelu else lambda hidden: hidden * torch.sigmoid(1.702 * hidden)

    def forward(self, x):  # (tokens, batch, width)
        mask = torch.full((len(x), len(x)), -torch.inf, dtype=x.dtype).triu(1) if self.causal else None
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["c_proj"](self.activation(self.mlp["c_fc"](self.ln_2(x))))


def blocks(layers, width, causal, **block):
    return nn.ModuleDict({"resblocks": nn.Sequential(*(Block(width, causal, **block) for _ in range(layers)))})


class Vision(nn.Module):
    def __init__(self, width, layers, grid, dim, **block):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 16, 16, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(1 + grid[0] * grid[1], width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.Sequential(*(Block(width, False, **block) for _ in range(layers)))}
        )
        self.proj = nn.Parameter(torch.randn(width, dim) / 8)

    def forward(self, images):
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], dim=1)
        x = self.transformer["resblocks"](self.ln_pre(tokens + self.positional_embedding).transpose(0, 1))
        return self.ln_post(x[0]) @ self.proj


class Text(nn.Module):
    def __init__(self, vocabulary, width, layers, dim, **block):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(20, width))
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.Sequential(*(Block(width, True, **block) for _ in range(layers)))}
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, dim) / 8)

    def forward(self, ids):
        x = (self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]).transpose(0, 1)
        x = self.ln_final(self.transformer["resblocks"](x).transpose(0, 1))
        return x[torch.arange(len(ids)), ids.argmax(dim=-1)] @ self.text_projection


class Source:
    """A CLIP in OpenAI's code with random weights, and its state dict in each layout of the field."""

    def __init__(self, vocabulary, grid=(6, 2), width=128, head_width=64, gelu=False):
        torch.manual_seed(0)
        self.vocabulary, self.grid = vocabulary, grid
        self.vision = Vision(width, 2, grid, 32, head_width=head_width, gelu=gelu).eval()
        self.text = Text(vocabulary, 64, 3, 32, gelu=gelu).eval()

    def batch(self):
        """Images, and captions that end with the highest id and are padded with zeros."""
        torch.manual_seed(1)
        ids = torch.randint(1, self.vocabulary - 2, (3, 9))
        ids[:, 0] = self.vocabulary - 2
        for row, end in enumerate((4, 6, 8)):
            ids[row, end] = self.vocabulary - 1
            ids[row, end + 1 :] = 0
        return torch.randn(3, 3, 16 * self.grid[0], 16 * self.grid[1]), ids

    @torch.no_grad()
    def embeddings(self):
        images, ids = self.batch()
        return [nn.functional.normalize(side, dim=-1) for side in (self.vision(images), self.text(ids))]

    def state(self, kind="openai"):
        vision = {f"visual.{name}": tensor for name, tensor in self.vision.state_dict().items()}
        text = self.text.state_dict()
        scale = {"logit_scale": torch.tensor(3.0)}
        if kind == "openai":
            return {**vision, **text, **scale, "input_resolution": torch.tensor(96)}
        if kind in ("open_clip", "open_clip, custom text"):
            start = "text." if kind.endswith("text") else ""
            return {**vision, **{f"{start}{name}": tensor for name, tensor in text.items()}, **scale}
        if kind == "transformers":
            return self.transformers_state()
        if kind == "tbps":
            text = {f"encode_text.{name}": tensor for name, tensor in text.items()}
            return {
                **vision,
                **text,
                **scale,
                "simclr_mlp.0.weight": torch.ones(2, 2),
                "ln_post.weight": torch.ones(3),
            }
        heads = {"classifier.weight": torch.ones(5, 32), "ln_post.bias": torch.ones(32)}
        heads |= {"cross_modal_transformer.resblocks.0.ln_1.weight": torch.ones(32)}
        heads |= {"visul_emb_layer.linear.weight": torch.ones(2, 2)}
        start = "base." if kind == "clip2textreid" else "base_model."
        base = {f"{start}{name}": tensor for name, tensor in {**vision, **text}.items()}
        prefix = "module." if kind == "irra, distributed" else ""
        return {f"{prefix}{name}": tensor for name, tensor in {**base, **heads}.items()}

    def transformers_state(self):
        """The same model under the names of transformers' CLIPModel."""
        state = {}
        names = {"conv1": "embeddings.patch_embedding", "ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}
        names |= {
            "ln_final": "final_layer_norm",
            "token_embedding": "embeddings.token_embedding",
            "mlp.c_fc": "mlp.fc1",
        }
        names |= {"mlp.c_proj": "mlp.fc2", "ln_1": "layer_norm1", "ln_2": "layer_norm2"}
        names |= {"transformer.resblocks": "encoder.layers", "attn.out_proj": "self_attn.out_proj"}
        for tower, module in (("vision", self.vision), ("text", self.text)):
            for name, tensor in module.state_dict().items():
                if name in ("proj", "text_projection"):
                    state[f"{'visual' if name == 'proj' else 'text'}_projection.weight"] = tensor.T
                    continue
                if "in_proj" in name:
                    start, _, kind = name.replace("transformer.resblocks", "encoder.layers").rpartition(
                        "attn.in_proj_"
                    )
                    parts = zip("qkv", tensor.chunk(3), strict=True)
                    state |= {f"{tower}_model.{start}self_attn.{side}_proj.{kind}": part for side, part in parts}
                    continue
                for old, new in names.items():
                    name = name.replace(old, new)
                name = {"class_embedding": "embeddings.class_embedding"}.get(name, name)
                name = {"positional_embedding": "embeddings.position_embedding.weight"}.get(name, name)
                state[f"{tower}_model.{name}"] = tensor
        positions = torch.arange(len(state["text_model.embeddings.position_embedding.weight"]))[None]
        return state | {"text_model.embeddings.position_ids": positions, "logit_scale": torch.tensor(3.0)}


@pytest.fixture(scope="session")
def source(tiny_clip_folder):
    """A source checkpoint for the tiny tokenizer's vocabulary."""
    from transformers import AutoTokenizer

    return Source(len(AutoTokenizer.from_pretrained(tiny_clip_folder)))


@pytest.fixture(scope="session")
def make_source(source):
    """Sources for images of another grid of patches."""
    return lambda grid=(6, 2), **block: Source(source.vocabulary, grid, **block)


@pytest.fixture
def convert(tiny_clip_folder, tmp_path):
    """Saves a checkpoint and converts it; returns the outcome and the folder."""

    def run(content, name="best.pth", **options):
        if name.endswith(".safetensors"):
            save_file(content, tmp_path / name)
        else:
            torch.save(content, tmp_path / name)
        target = tmp_path / "converted"
        options = {"tokenizer": tiny_clip_folder, **options}
        return convert_checkpoint(tmp_path / name, target, **options), target

    return run
