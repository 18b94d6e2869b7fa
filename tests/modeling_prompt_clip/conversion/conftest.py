import pytest
import torch
from torch import nn


class Block(nn.Module):
    """A layer of OpenAI's CLIP, from its published description (arXiv 2103.00020)."""

    def __init__(self, width, causal):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.causal = causal

    def forward(self, x):  # (tokens, batch, width)
        mask = torch.full((len(x), len(x)), -torch.inf, dtype=x.dtype).triu(1) if self.causal else None
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        hidden = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))


class Vision(nn.Module):
    def __init__(self, width, layers, grid, dim):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 16, 16, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(1 + grid[0] * grid[1], width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*(Block(width, False) for _ in range(layers)))})
        self.proj = nn.Parameter(torch.randn(width, dim) / 8)

    def forward(self, images):
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], dim=1)
        x = self.transformer["resblocks"](self.ln_pre(tokens + self.positional_embedding).transpose(0, 1))
        return self.ln_post(x[0]) @ self.proj


class Text(nn.Module):
    def __init__(self, vocabulary, width, layers, dim):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(20, width))
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*(Block(width, True) for _ in range(layers)))})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, dim) / 8)

    def forward(self, ids):
        x = (self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]).transpose(0, 1)
        x = self.ln_final(self.transformer["resblocks"](x).transpose(0, 1))
        return x[torch.arange(len(ids)), ids.argmax(dim=-1)] @ self.text_projection


class Source:
    """A CLIP in OpenAI's code with random weights, and its state dict in each layout of the field."""

    def __init__(self, vocabulary, grid=(6, 2)):
        torch.manual_seed(0)
        self.vocabulary, self.grid = vocabulary, grid
        self.vision = Vision(128, 2, grid, 32).eval()
        self.text = Text(vocabulary, 64, 3, 32).eval()

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
        base = {f"base_model.{name}": tensor for name, tensor in {**vision, **text}.items()}
        prefix = "module." if kind == "irra, distributed" else ""
        return {f"{prefix}{name}": tensor for name, tensor in {**base, **heads}.items()}


@pytest.fixture(scope="session")
def source(tiny_clip_folder):
    """A source checkpoint for the tiny tokenizer's vocabulary."""
    from transformers import AutoTokenizer

    return Source(len(AutoTokenizer.from_pretrained(tiny_clip_folder)))


@pytest.fixture(scope="session")
def make_source(source):
    """Sources for images of another grid of patches."""
    return lambda grid: Source(source.vocabulary, grid)
