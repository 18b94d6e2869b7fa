"""The two stages of a run: build, train and save each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from peft import PeftModel
from torch import nn
from transformers import TrainerCallback

from modeling_prompt_clip import DeepPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.retrieval import TextToImageEvaluator
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.pairs import CaptionPairs, pair_loader
from trainers.data.splits import Rows
from trainers.data.streaming import StreamedPairs
from trainers.distributed.preemption import StopRequest
from trainers.distributed.sharding import is_cut, model_to_train, weights_kind
from trainers.publishing import HubUploads
from trainers.run_folder.checkpoint_store import Checkpoint, CheckpointStore
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.metrics_log import MetricsLog
from trainers.run_folder.results import StageResult
from trainers.stages.best_weights import RunWeights
from trainers.stages.checkpoints import StageCheckpoints, load_adapter_weights, load_model_weights, save_adapter
from trainers.stages.evaluation import RunEvaluation
from trainers.stages.loop import StageLoop
from trainers.stages.module import StageModule, new_objective
from trainers.stages.starting_model import lora_model, merged_adapter, prompted_model


@dataclass
class StageRunner:
    """Runs the stages of one run."""

    args: TwoStageTrainingArguments
    accelerator: Accelerator
    run: RunFolder
    store: CheckpointStore
    weights: RunWeights
    processor: PromptCLIPProcessor
    prompt_config: DeepPromptConfig | None  # of the prompts that stage one trains; `None` without that stage
    train: Rows  # train, pairs: the training split and its caption-image pairs
    pairs: CaptionPairs | StreamedPairs
    batches_per_epoch: Fraction  # over all processes
    evaluation: RunEvaluation
    stop: StopRequest
    uploads: HubUploads | None = None  # set on the process that uploads weights during the run
    callbacks: Sequence[TrainerCallback] = ()
    log: MetricsLog | None = None  # `metrics.jsonl`, once it is open; `None` on all processes but the first
    checkpoint: Checkpoint | None = None  # to resume from; None once its stage runs
    # of data and model at the start, on the first process
    fingerprints: Mapping[str, Any] = field(default_factory=dict)

    def stage_one(
        self, model: PromptCLIPModel, finished: StageResult | None = None
    ) -> tuple[PromptCLIPModel, StageResult]:
        """Domain adaptation: train prompts and loss heads only, then merge the prompts.

        Args:
            model: the base, which is frozen.
            finished: how the stage ended, if the run resumes after it.

        Returns:
            The merged model, and how the stage ended.
        """
        if finished is not None:
            self.weights.place_adapter(finished.best_step)
            return merged_adapter(model, str(self.run.adapter)), finished
        if self.prompt_config is None:
            raise ValueError(f"stages is {self.args.stages}, which leaves stage one out")
        set_seed(self.args.seed)
        base = model_to_train(self.accelerator, model)
        prompted = prompted_model(self.args, base, self.processor, self.prompt_config, self.train)
        save, load = partial(save_adapter, prompted), partial(load_adapter_weights, prompted)
        result = self._run_stage("one", prompted, save, load)
        self.weights.place_adapter(result.best_step)
        if is_cut(self.accelerator):
            return merged_adapter(model, str(self.run.adapter)).to(self.accelerator.device), result
        return prompted.merge_and_unload(safe_merge=True), result

    def stage_two(
        self,
        model: PromptCLIPModel,
        stage_one: StageResult | None = None,
        finished: StageResult | None = None,
    ) -> StageResult:
        """Task adaptation: train CLIP, or low-rank updates of it, with fixed prompts.

        Args:
            model: has the best weights afterwards.
            stage_one: how that stage ended, if it was run.
            finished: how this stage ended, if the run resumes after it.
        """
        low_rank = self.args.stage_two_lora_rank
        if finished is not None:
            self.weights.place_model(finished.best_step, model if low_rank else None)
            load_model_weights(model, self.run.model)
            return finished
        set_seed(self.args.seed + 1)
        trained = model_to_train(self.accelerator, model).requires_grad_(True)
        # the objectives have temperatures of their own, and a parameter without a gradient would stall DDP
        trained.logit_scale.requires_grad_(False)
        if self.log is not None and self.checkpoint is None and stage_one is not None and stage_one.best_metrics:
            # where the curves go on
            self.log.write({"stage": "two", "step": 0, "split": "validation", **stage_one.best_metrics})

        if low_rank:
            lora = lora_model(trained, low_rank, self.args.stage_two_lora_alpha)
            result = self._run_stage("two", lora, partial(save_adapter, lora), partial(load_adapter_weights, lora))
            lora.unload()
        else:
            save, load = partial(self.weights.save_model, trained), partial(load_model_weights, trained)
            result = self._run_stage("two", trained, save, load)
        self.weights.place_model(result.best_step, model if low_rank else None)
        if is_cut(self.accelerator) or low_rank:
            load_model_weights(model.to(self.accelerator.device), self.run.model)
        return result

    def _run_stage(
        self,
        name: str,
        model: PromptCLIPModel | PeftModel,
        save: Callable[[Path, dict[str, torch.Tensor] | None], None],
        load: Callable[[Path], None],
    ) -> StageResult:
        """Build a stage, run it, free the optimizer's memory and load the best weights."""
        checkpoint, self.checkpoint = self.checkpoint, None
        facts = {
            "processes": self.accelerator.num_processes,
            "weights": weights_kind(self.accelerator),
            "caption-image pairs": len(self.pairs),
            "persons": self.pairs.num_identities,
            **self.fingerprints,
            "finished": self.run.finished() if self.accelerator.is_main_process else {},
        }
        checkpoints = StageCheckpoints(self.accelerator, self.store, name, model, save, load, facts, self.uploads)
        if checkpoint is not None:
            checkpoints.restore_weights(checkpoint)
        loop = self._stage_loop(name, model, checkpoints, done=checkpoint.step if checkpoint else 0)
        if checkpoint is not None:
            with checkpoints.restored_state(checkpoint) as state:
                loop.load_state(state)
                if (loop.result.steps, loop.result.best_step) != (checkpoint.step, checkpoint.facts["best_step"]):
                    raise ValueError("it is of another step than its checkpoint.json")
        result = loop.run()
        self.accelerator.free_memory()
        checkpoints.load_best(result.best_step)
        loop.callbacks.train_ended()
        if result.best_metrics:
            self.evaluation.record(name, "validation", result.best_step, {"text_to_image": result.best_metrics})
        if self.accelerator.is_main_process:
            hashes = self.store.best_hashes(name, result.best_step)
            self.run.finish_stage(name, result, weights=hashes, **self.fingerprints)
        return result

    def _stage_loop(
        self, name: str, model: PromptCLIPModel | PeftModel, checkpoints: StageCheckpoints, done: int
    ) -> StageLoop:
        """Build the loop of a stage; its loader starts after `done` steps."""
        stage, validation = self.args.stage(name), self.evaluation.validation
        objective = new_objective(self.args, name, model.config, self.pairs.num_identities)
        accumulation = self.args.gradient_accumulation_steps
        steps_per_epoch = self.batches_per_epoch / accumulation
        total_steps = stage.total_steps(steps_per_epoch)
        batches = self.pairs.batches(
            self.args.batch_size,
            num_steps=total_steps * accumulation,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            done=done * accumulation,
        )
        return StageLoop(
            self.accelerator,
            self.args,
            stage,
            StageModule(model, objective),
            pair_loader(self.pairs, batches, self.processor.tokenizer.pad_token_id, self.args.num_workers),
            total_steps=total_steps,
            eval_steps=self.args.eval_steps or steps_per_epoch,
            evaluate=partial(_validate, validation, model) if validation is not None else None,
            keep=checkpoints.save_best,
            log=self.log,
            save=checkpoints.save,
            asked_to_stop=self.stop.agreed,
            max_bad_steps=self.args.max_bad_steps,
            image_names=self.pairs.image_names,
            callbacks=self.callbacks,
            steps_per_epoch=steps_per_epoch,
            processor=self.processor,
        )


def _validate(validation: TextToImageEvaluator, model: nn.Module) -> dict[str, float]:
    return validation.by_direction(model)["text_to_image"].to_dict()


__all__ = ["StageRunner"]
