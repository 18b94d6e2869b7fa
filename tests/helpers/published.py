"""Use of a published model by its name, without this package and the run."""

import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from safetensors.numpy import load_file

from elsewhere import run_elsewhere

__all__ = ["card_snippets", "metrics_elsewhere"]

_READER = """
import json
from pathlib import Path
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModel, AutoProcessor

repo, folder = sys.argv[1], Path(sys.argv[2])
model = AutoModel.from_pretrained(repo, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(repo, trust_remote_code=True)
images = [Image.open(path) for path in sorted(folder.glob("*.png"))]
with torch.no_grad():
    found = model(**processor(images=images, text=json.loads((folder / "captions.json").read_text())))
save_file({"images": found.image_embeds, "texts": found.text_embeds}, folder / "embeds.safetensors")
"""


def card_snippets(card: str) -> list[str]:
    """The card's snippets: each way to load the model, with the code that uses it."""
    *loading, use = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    return [way + use for way in loading]


def metrics_elsewhere(hub: Any, repo_id: str, dataset: datasets.Dataset, folder: Path) -> dict[str, float]:
    """Text-to-image R@1 and mAP of a repository's model in percent, by definition.

    Args:
        hub: that has the repository.
        repo_id: `USER/NAME`.
        dataset: the split.
        folder: empty; holds what the reader is given and gives.
    """
    captions = [caption for group in dataset["captions"] for caption in group]
    (folder / "captions.json").write_text(json.dumps(captions))
    for row, image in enumerate(dataset["image"]):
        image.save(folder / f"{row:05}.png")
    run_elsewhere(_READER, repo_id, folder, folder=folder, environment=hub.environment(str(folder / "home")))
    embeds = load_file(folder / "embeds.safetensors")
    gallery = np.array(dataset["person_id"])
    queries = gallery.repeat([len(group) for group in dataset["captions"]])
    scores = embeds["texts"].astype(np.float64) @ embeds["images"].astype(np.float64).T
    first, precision = [], []
    for own, row in zip(queries[:, None] == gallery, scores.astype(np.float32), strict=True):
        hits = own[np.lexsort((own, -row))]  # of one score, others come first
        places = np.flatnonzero(hits)
        first.append(hits[0])
        precision.append(np.mean(np.arange(1, len(places) + 1) / (places + 1)))
    return {"R@1": 100 * float(np.mean(first)), "mAP": 100 * float(np.mean(precision))}
