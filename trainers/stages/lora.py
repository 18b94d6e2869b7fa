"""Stage two by low-rank updates of CLIP's matrices (LoRA, arXiv 2106.09685), through PEFT, in place of all weights."""

from peft import LoraConfig, PeftModel, get_peft_model

from modeling_prompt_clip import PromptCLIPModel

# every matrix of a layer, not only those of attention: what QLoRA (arXiv 2305.14314) found to matter most
LORA_TARGETS = (
    r"(?:text|vision)_model\.encoder\.layers\.\d+\.(?:self_attn\.(?:q_proj|k_proj|v_proj|out_proj)|mlp\.fc[12])"
)


def lora_model(model: PromptCLIPModel, rank: int, alpha: float) -> PeftModel:
    """Wrap a model with trainable updates `alpha / rank * B A` of each matrix in both towers' layers.

    B starts at 0. Everything else is frozen: prompts, norms, biases, embeddings, projections.
    """
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=LORA_TARGETS))


__all__ = ["LORA_TARGETS", "lora_model"]
