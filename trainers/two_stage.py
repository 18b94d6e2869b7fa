"""Two-stage training: prompts adapt CLIP to the domain, then CLIP itself is adapted to the task.

Runs as `accelerate launch -m trainers.two_stage --config NAME_OR_FILE [--any_field VALUE]`, which is the same as
`prompt-clip train ...`. After "Prompt Decoupling" (arXiv 2401.02173); losses, schedules and prompt layout are ours.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from peft import PeftModel, get_peft_model

from dataset_scripts import load_person_search
from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.cli import main as prompt_clip
from modeling_prompt_clip.configuration_prompt_clip import validate_prompt_settings
from modeling_prompt_clip.loading import resolve_model_path
from modeling_prompt_clip.retrieval import RetrievalMetrics, TextToImageEvaluator, metrics_table
from modeling_prompt_clip.retrieval.report import dataset_sheet, ranked_strips
from trainers.arguments import TwoStageTrainingArguments
from trainers.checkpointing import BestWeights, load_adapter_weights, load_model_weights
from trainers.data import CaptionPairs, StepBatches, batches_per_epoch, pair_loader
from trainers.objectives import CombinedObjective
from trainers.recipes import parse_arguments
from trainers.run_card import write_run_card
from trainers.run_folder import RunFolder
from trainers.stage import StageLoop, StageModule, StageResult
from trainers.tracking import MetricsLog
from trainers.transforms import TrainingTransform, to_rgb

logger = logging.getLogger(__name__)


class TwoStageTrainer:
    """Trains a PromptCLIP in two stages and leaves a run folder.

    ```python
    >>> args = TwoStageTrainingArguments(dataset="cuhk_pedes", data_dir="CUHK-PEDES", output_dir="runs/cuhk")
    >>> TwoStageTrainer(args).train()
    ```

    Args:
        args: the settings.
        model: start from this model instead of `args.base_model`; it is trained in place.
        processor: the model's processor; needed with `model`.
        splits: train on these instead of `args.dataset`: `train`, and, where there are, `validation` and `test`.

    Raises:
        ValueError, TypeError, OSError: anything that can be known to be wrong before training: the settings, the base
            model, the adapter, the data set, a run folder that is taken.
    """

    def __init__(
        self,
        args: TwoStageTrainingArguments,
        model: PromptCLIPModel | None = None,
        processor: PromptCLIPProcessor | None = None,
        splits: Mapping[str, datasets.Dataset] | None = None,
    ) -> None:
        if (model is None) != (processor is None):
            raise ValueError("model and processor belong together; pass both, or neither and set args.base_model")
        self.args = args
        self.run = RunFolder(args.output_dir)
        self.run.check_free(args.overwrite_output_dir)
        self.accelerator = Accelerator(
            mixed_precision=args.mixed_precision,
            log_with=None if args.report_to == "none" else args.report_to,
            project_config=ProjectConfiguration(project_dir=args.output_dir, logging_dir=args.output_dir),
        )
        # the data first: most of what goes wrong is there, and a base model may have to be downloaded
        self.splits = dict(splits) if splits is not None else self._load_splits()
        if "train" not in self.splits:
            raise ValueError(f"the data set has no train split, only {sorted(self.splits)}; name one that has")
        set_seed(args.seed)
        self.model, self.processor = (model, processor) if model is not None else load_base(args)
        if args.adapter:
            self.model = merged_adapter(self.model, args.adapter)
        self.prompt_config = new_prompt_config(args, self.model)
        self.pairs = self._training_pairs()
        self.batches_per_epoch = batches_per_epoch(len(self.pairs), args.batch_size, self.accelerator.num_processes)
        self.validation = self._evaluator("validation")
        self.log: MetricsLog | None = None

    def train(self) -> dict[str, RetrievalMetrics]:
        """Run the stages that the settings name, then evaluate the test split once.

        Returns:
            The test metrics under "text_to_image" and "image_to_text"; empty where there is no test split.
        """
        if self.accelerator.is_main_process:
            self.log = self.run.create(self.args)
            picture = self.run.plots / "training_set.png"
            dataset_sheet(self.splits["train"], seed=self.args.seed).save(picture)
            logger.info("%d caption-image pairs to train on; a look at them: %s", len(self.pairs), picture)
        self.accelerator.wait_for_everyone()
        if self.args.report_to != "none":
            self.accelerator.init_trackers("two_stage")
        self.model.to(self.accelerator.device)
        if self.validation is None:
            logger.warning("no validation split: each stage keeps its last weights, and nothing is selected")
        else:
            self._record("base", "validation", 0, self.validation(self.model))
        stages: dict[str, StageResult] = {}
        if "one" in self.args.stages:
            stages["one"] = self.stage_one()
        if "two" in self.args.stages:
            stages["two"] = self.stage_two(stages.get("one"))
        metrics = self._test(stages)
        if self.log is not None:
            self.log.close()
            self.run.draw_curves()
            write_run_card(self.run, self.args, stages)
        self.accelerator.end_training()
        return metrics

    def stage_one(self) -> StageResult:
        """Domain adaptation: the base is frozen, only prompts (and loss heads) learn; then the prompts are merged."""
        set_seed(self.args.seed)
        model = get_peft_model(self.model, self.prompt_config)
        if self.args.prompt_init == "activations":
            model.base_model.initialize_from_activations(*self._calibration_batch())
        best = BestWeights(self.run.checkpoints, "one", writer=self.accelerator.is_main_process)

        def save(folder: str) -> None:
            # prompts touch no embedding layer; PEFT would ask the Hub about the base model to find that out
            model.save_pretrained(folder, save_embedding_layers=False)
            Path(folder, "README.md").unlink()  # PEFT's form, not filled in; the run's card tells what was measured

        result = self._run_stage("one", model, best, save)
        load_adapter_weights(model, best.path)
        self._publish(best, self.run.adapter)
        self.model = model.merge_and_unload(safe_merge=True)
        return result

    def stage_two(self, stage_one: StageResult | None = None) -> StageResult:
        """Task adaptation: prompts are fixed buffers, CLIP itself is trained."""
        set_seed(self.args.seed + 1)
        self.model.requires_grad_(True)
        # the objectives have temperatures of their own, and a parameter without a gradient would stall DDP
        self.model.logit_scale.requires_grad_(False)
        if stage_one is not None and stage_one.best_metrics and self.log is not None:  # where the curves go on
            self.log.write({"stage": "two", "step": 0, "split": "validation", **stage_one.best_metrics})
        best = BestWeights(self.run.checkpoints, "two", writer=self.accelerator.is_main_process)

        def save(folder: str) -> None:
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)

        result = self._run_stage("two", self.model, best, save)
        load_model_weights(self.model, best.path)
        self._publish(best, self.run.model)
        return result

    def _run_stage(
        self, name: str, model: PromptCLIPModel | PeftModel, best: BestWeights, save: Callable[[str], None]
    ) -> StageResult:
        """Build what a stage needs, run it, and give its optimizer's memory back."""
        stage = self.args.stage(name)
        objective = CombinedObjective(
            stage.objectives,
            self.args.objective_options(),
            embedding_dim=self.model.config.projection_dim,
            num_identities=self.pairs.num_identities,
        )
        accumulation = self.args.gradient_accumulation_steps
        steps_per_epoch = max(1, self.batches_per_epoch // accumulation)
        total_steps = stage.total_steps(steps_per_epoch)
        batches = StepBatches(
            len(self.pairs),
            self.args.batch_size,
            num_steps=total_steps * accumulation,
            seed=self.args.seed,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        pad_token_id = self.processor.tokenizer.pad_token_id
        loop = StageLoop(
            self.accelerator,
            self.args,
            stage,
            StageModule(model, objective),
            pair_loader(self.pairs, batches, pad_token_id, self.args.num_workers),
            total_steps=total_steps,
            eval_steps=self.args.eval_steps or steps_per_epoch,
            evaluate=self.validation and (lambda: self.validation(model)["text_to_image"].to_dict()),
            keep=lambda step: best.save(step, lambda folder: save(str(folder))),
            log=self.log,
        )
        result = loop.run()
        self.accelerator.free_memory()
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process and result.best_metrics:
            self.run.record([self._entry(name, "validation", result.best_step, "text_to_image", result.best_metrics)])
        return result

    def _publish(self, best: BestWeights, target: Path) -> None:
        """Move a stage's best weights to their place, once every process has read them."""
        self.accelerator.wait_for_everyone()
        best.publish(target)

    def _test(self, stages: Mapping[str, StageResult]) -> dict[str, RetrievalMetrics]:
        """Evaluate the final model on the test split, once, and draw its ranked strips."""
        evaluator = self._evaluator("test")
        if evaluator is None:
            logger.warning("no test split: nothing is tested")
            return {}
        encoded = evaluator.encode(self.model)
        metrics = evaluator.metrics(encoded)
        last = list(stages)[-1]
        self._record(last, "test", stages[last].best_step, metrics)
        if self.accelerator.is_main_process:
            strips = ranked_strips(encoded, self.splits["test"], seed=self.args.seed)
            strips.save(self.run.plots / "ranked_test.png")
        return metrics

    def _record(self, stage: str, split: str, step: int, metrics: Mapping[str, RetrievalMetrics]) -> None:
        """Write an evaluation to `results.json`, and the base model's to `metrics.jsonl` too."""
        if not self.accelerator.is_main_process:
            return
        entries = {direction: values.to_dict() for direction, values in metrics.items()}
        self.run.record([self._entry(stage, split, step, direction, values) for direction, values in entries.items()])
        if stage == "base" and self.log is not None:  # the curves start here
            self.log.write({"stage": self.args.stages[0], "step": 0, "split": split, **entries["text_to_image"]})

    def _entry(
        self, stage: str, split: str, step: int, direction: str, metrics: Mapping[str, float]
    ) -> dict[str, Any]:
        """A row of `results.json`."""
        methods = {
            "base": "stage one" if self.args.adapter else "zero-shot",  # an adapter is merged before the run starts
            "one": "stage one",
            "two": "direct" if self.args.direct else "two-stage",
        }
        return {
            "stage": stage,
            "method": methods[stage],
            "split": split,
            "direction": direction,
            "step": step,
            "metrics": dict(metrics),
        }

    def _load_splits(self) -> dict[str, datasets.Dataset]:
        """All splits of the data set, built by one process first."""
        with self.accelerator.main_process_first():
            return dict(load_person_search(self.args.dataset, self.args.data_dir, None, **self.args.dataset_options))

    def _training_pairs(self) -> CaptionPairs:
        """The training split as augmented caption-image pairs."""
        image_processor = self.processor.image_processor
        transform = TrainingTransform(
            self.processor.image_size,
            image_processor.image_mean,
            image_processor.image_std,
            flip=self.args.augment_flip,
            pad=self.args.augment_pad,
            erase=self.args.augment_erase,
            color_jitter=self.args.augment_color_jitter,
        )
        return CaptionPairs(self.splits["train"], self.processor.tokenizer, transform, self.args.seed)

    def _evaluator(self, split: str) -> TextToImageEvaluator | None:
        """The evaluator of a split; `None` where the data set does not have it."""
        if split not in self.splits:
            return None
        progress = self.accelerator.is_main_process
        return TextToImageEvaluator(
            self.splits[split], self.processor, batch_size=self.args.eval_batch_size, progress=progress
        )

    def _calibration_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A phrase (1, tokens) and the first training images (up to 256), from which prompts start."""
        images = self.splits["train"][: min(256, len(self.splits["train"]))]["image"]
        inputs = self.processor(text=[self.args.prompt_init_phrase], images=[to_rgb(image) for image in images])
        device = self.accelerator.device
        return inputs["input_ids"].to(device), inputs["pixel_values"].to(device)


def load_base(args: TwoStageTrainingArguments) -> tuple[PromptCLIPModel, PromptCLIPProcessor]:
    """The base model at the run's image size, and its processor.

    Raises:
        OSError, ValueError: see [`PromptCLIPModel.from_clip`].
    """
    folder = str(resolve_model_path(args.base_model))
    options = {"attn_implementation": args.attn_implementation} if args.attn_implementation else {}
    model = PromptCLIPModel.from_clip(folder, image_size=tuple(args.image_size), **options)
    model.name_or_path = args.base_model  # what an adapter records as its base: the name, not this machine's path
    return model, PromptCLIPProcessor.from_clip(folder, image_size=tuple(args.image_size))


def merged_adapter(model: PromptCLIPModel, folder: str) -> PromptCLIPModel:
    """The base model with the prompts of a saved stage-one adapter as its fixed ones.

    Raises:
        OSError: there is no adapter.
        ValueError: it was trained for other images or another model.
    """
    return PeftModel.from_pretrained(model, folder).merge_and_unload(safe_merge=True)


def new_prompt_config(args: TwoStageTrainingArguments, model: PromptCLIPModel) -> ClipPromptConfig | None:
    """The adapter that stage one will train, checked against the model; `None` where there is no stage one.

    Raises:
        ValueError: prompts for a layer that does not exist.
    """
    if "one" not in args.stages:
        return None
    config = ClipPromptConfig(
        text_prompt_length=args.text_prompt_length,
        vision_prompt_length=args.vision_prompt_length,
        prompt_layers=args.prompt_layers,
        prompt_init=args.prompt_init,
    )
    for tower, length in (("text", config.text_prompt_length), ("vision", config.vision_prompt_length)):
        layers = getattr(model.config, f"{tower}_config").num_hidden_layers
        validate_prompt_settings(tower, length, config.prompt_layers, layers)
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """`prompt-clip train`: parse the settings, train, print the test metrics."""
    metrics = TwoStageTrainer(parse_arguments(argv)).train()
    if metrics:
        sys.stdout.write(metrics_table({name.replace("_", " "): values for name, values in metrics.items()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(prompt_clip(["train", *sys.argv[1:]]))
