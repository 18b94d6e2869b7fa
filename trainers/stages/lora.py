"""Stage two by low-rank updates of CLIP's matrices (LoRA, arXiv 2106.09685), through PEFT, in place of all weights."""

from peft import LoraConfig, PeftModel, get_peft_model

from modeling_prompt_clip import PromptCLIPModel

# every matrix of a layer, not only those of attention: what QLoRA (arXiv 2305.14314) found to matter most
LORA_TARGETS = (
    r"(?:text|vision)_model\.encoder\.layers\.\d+\.(?:self_attn\.(?:q_proj|k_proj|v_proj|out_proj)|mlp\.fc[12])"
)


def lora_model(model: PromptCLIPModel, rank: int, alpha: float) -> PeftModel:
    """The frozen model with a trainable update `alpha / rank * B A` beside each matrix of both towers' layers.

    B is 0 at first, so that training starts from the model as it is. Fixed prompts, norms, biases, embeddings and
    projections are frozen with the rest.

    Args:
        model: it is wrapped, not copied.
        rank: of the updates, at least 1: A is (rank, columns of the matrix), B (rows of the matrix, rank).
        alpha: above 0.
    """
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=LORA_TARGETS))


__all__ = ["LORA_TARGETS", "lora_model"]
