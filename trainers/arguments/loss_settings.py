"""Settings of the losses; their weights are settings of the stages."""

from dataclasses import dataclass
from typing import ClassVar

from trainers.arguments.fields import setting

__all__ = ["LossSettings"]


@dataclass
class LossSettings:
    """Part of [`TwoStageTrainingArguments`]: losses."""

    _argument_group_name: ClassVar = "losses"

    sdm_temperature: float = setting(
        default=0.02, help="Temperature of sdm, above 0.", above=0, high=100, losses=("sdm",)
    )
    itc_temperature: float = setting(
        default=0.07, help="Temperature of itc, above 0.", above=0, high=100, losses=("itc",)
    )
    tal_temperature: float = setting(
        default=0.015, help="Temperature of tal, above 0.", above=0, high=100, losses=("tal",)
    )
    tal_margin: float = setting(default=0.1, help="Margin of tal, 0 or more.", low=0, high=100, losses=("tal",))
    sdm_same_person_weight: float = setting(
        default=1.0,
        help="Target of sdm for another image of the person; for the same image it is 1.",
        low=0,
        high=1000,
        losses=("sdm",),
    )
    itc_same_image_weight: float = setting(
        default=0.0,
        help="Target of itc for another caption of the image; for its own it is 1.",
        low=0,
        high=1000,
        losses=("itc",),
    )
    itc_same_person_weight: float = setting(
        default=0.0,
        help="Target of itc for another image of the person; 1 and 1 are TBPS-CLIP's.",
        low=0,
        high=1000,
        losses=("itc",),
    )
    citc_in_modal_weight: float = setting(
        default=0.25, help="Weight of citc's term within a tower.", low=0, high=1000, losses=("citc",)
    )
    citc_cross_modal_weight: float = setting(
        default=0.25, help="Weight of citc's term across towers.", low=0, high=1000, losses=("citc",)
    )
    mlm_layers: int = setting(
        default=4, help="Transformer layers of mlm's head, 0 or more.", low=0, high=64, losses=("mlm",)
    )
    mlm_probability: float = setting(
        default=0.15,
        help="Probability of masking a word for mlm.",
        low=0,
        high=1,
        card="For mlm, a word is masked with probability {:g}.",
        losses=("mlm",),
    )
    learn_temperature: bool = setting(
        default=False,
        help="Learn the temperatures of sdm, itc and tal, starting from their settings.",
        experimental=True,
    )
    label_smoothing: float = setting(
        default=0.0,
        help="Label smoothing of itc and id, in [0, 1).",
        low=0,
        below=1,
        experimental=True,
        losses=("itc", "id"),
    )

    def objective_options(self) -> dict[str, dict[str, float]]:
        """Keyword options of each objective."""
        return {
            "sdm": {"temperature": self.sdm_temperature, "same_person_weight": self.sdm_same_person_weight},
            "itc": {
                "temperature": self.itc_temperature,
                "label_smoothing": self.label_smoothing,
                "same_image_weight": self.itc_same_image_weight,
                "same_person_weight": self.itc_same_person_weight,
            },
            "tal": {"temperature": self.tal_temperature, "margin": self.tal_margin},
            "id": {"label_smoothing": self.label_smoothing},
            "citc": {
                "in_modal_weight": self.citc_in_modal_weight,
                "cross_modal_weight": self.citc_cross_modal_weight,
            },
            "mlm": {"layers": self.mlm_layers},
        }
