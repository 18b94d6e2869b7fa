"""Two-stage training: prompts adapt CLIP to the domain, then CLIP itself is adapted to the task.

Runs as `accelerate launch -m trainers.two_stage --config NAME_OR_FILE [--any_field VALUE]`, which is the same as
`prompt-clip train ...`. After "Prompt Decoupling" (arXiv 2401.02173); losses, schedules and prompt layout are ours.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from peft import PeftModel

from dataset_scripts.common.hub import PushedRepository
from modeling_prompt_clip import PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.cli import main as prompt_clip
from modeling_prompt_clip.retrieval import Interval, RetrievalMetrics, bootstrap_intervals
from modeling_prompt_clip.retrieval.pictures import ranked_strips
from trainers.arguments.resolved import resolve_settings
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.fingerprint import data_fingerprint
from trainers.data.pairs import pair_loader
from trainers.data.split_facts import evaluation_facts
from trainers.data.splits import prepare_splits, split_evaluator
from trainers.data.training_pairs import training_pairs
from trainers.distributed.gather import from_main_process
from trainers.distributed.launch_check import check_launch, check_sharding
from trainers.distributed.preemption import Preempted, StopRequest
from trainers.distributed.sharding import is_cut, model_to_train, weights_kind
from trainers.publishing import HubUploads, push_run
from trainers.publishing.run_card import write_run_card
from trainers.run_folder.checkpoint_store import Checkpoint, CheckpointStore
from trainers.run_folder.evaluated_data import check_earlier_runs
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.lock import check_unused, only_writer
from trainers.run_folder.metrics_log import MetricsLog
from trainers.run_folder.model_fingerprint import model_fingerprint
from trainers.run_folder.results import StageResult, result_rows
from trainers.run_folder.resume_point import resume_point
from trainers.stages.best_weights import RunWeights
from trainers.stages.checkpoints import StageCheckpoints, load_adapter_weights, load_model_weights, save_adapter
from trainers.stages.layer_modes import check_compiler
from trainers.stages.loop import StageLoop
from trainers.stages.lora import lora_model
from trainers.stages.module import StageModule, new_objective
from trainers.stages.starting_model import load_base, merged_adapter, new_prompt_config, prompted_model

logger = logging.getLogger(__name__)


class TwoStageTrainer:
    """Trains a PromptCLIP in two stages and leaves a run folder.

    ```python
    >>> clip, data = "openai/clip-vit-base-patch16", "CUHK-PEDES"
    >>> args = TwoStageTrainingArguments(clip, dataset="cuhk_pedes", data_dir=data, output_dir="runs/cuhk")
    >>> TwoStageTrainer(args).train()
    ```

    Args:
        args: the settings.
        model: start from this model instead of `args.base_model`; it is trained in place.
        processor: the model's processor; needed with `model`.
        splits: train on these instead of `args.dataset`: `train` (which may be a stream), and, where there are,
            `validation` and `test`.

    Raises:
        ValueError, TypeError, OSError: anything that can be known to be wrong before training: the settings, the base
            model, the adapter, the data set, a run folder that is taken.
    """

    def __init__(
        self,
        args: TwoStageTrainingArguments,
        model: PromptCLIPModel | None = None,
        processor: PromptCLIPProcessor | None = None,
        splits: Mapping[str, datasets.Dataset | datasets.IterableDataset] | None = None,
    ) -> None:
        if (model is None) != (processor is None):
            raise ValueError("model and processor belong together; pass both, or neither and set args.base_model")
        self.run = RunFolder(args.output_dir)
        self.args = args = self.run.drawn_as_before(resolve_settings(args, model, splits))
        self.goes_on = self.run.take(args)
        check_unused(self.run.path)
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),  # without it several processes would not find each other there
            mixed_precision=args.mixed_precision,
            log_with=None if args.report_to == "none" else args.report_to,
            project_config=ProjectConfiguration(project_dir=args.output_dir, logging_dir=args.output_dir),
        )
        check_launch(self.accelerator)
        check_sharding(self.accelerator, args)
        if args.compile:
            check_compiler(self.accelerator.device)
        # the data first: most of what goes wrong is there, and a base model may have to be downloaded
        with self.accelerator.main_process_first():  # what the first builds and hashes, the others find
            if splits is None:
                check_earlier_runs(args)
            self.data = prepare_splits(args, splits)
        self.splits = self.data.splits
        set_seed(args.seed)
        self.model, self.processor = (model, processor) if model is not None else load_base(args)
        self.processor.clean_captions = args.clean_captions  # evaluated and published as it is trained
        if args.adapter:
            self.model = merged_adapter(self.model, args.adapter)
        self.prompt_config = new_prompt_config(args, self.model)
        with self.accelerator.main_process_first():  # the others find the tokens that the first has kept
            self.pairs = training_pairs(args, self.processor, self.splits["train"])
        self.batches_per_epoch = self.pairs.batches_per_epoch(args.batch_size, self.accelerator.num_processes)
        self.validation = split_evaluator(args, self.accelerator, self.processor, self.splits, "validation")
        self.log: MetricsLog | None = None
        self.fingerprints: dict[str, Any] = {"data": None, "model": None}  # of the start, on the first process
        self.stop = StopRequest(self.accelerator)
        self.store = CheckpointStore(
            self.run.checkpoints, writer=self.accelerator.is_main_process, keep=args.save_total_limit
        )
        self.uploads: HubUploads | None = None
        if args.push_to_hub and self.accelerator.is_main_process:
            self.uploads = HubUploads(args, self.run)
        self.weights = RunWeights(self.accelerator, self.run, self.store, self.processor)
        self.checkpoint: Checkpoint | None = None  # to go on from; forgotten once its stage runs

    def train(self) -> dict[str, RetrievalMetrics]:
        """Run the stages that the settings name, then evaluate the test split once.

        Returns:
            The test metrics under "text_to_image" and "image_to_text"; empty where there is no test split.

        Raises:
            Preempted: SIGTERM or SIGUSR1 asked the run to stop; it has saved what `resume: auto` goes on from.
            ValueError, OSError: the run cannot go on from its checkpoint, or diverges, or cannot write.
        """
        with contextlib.ExitStack() as held:
            from_main_process(self.accelerator, lambda: held.enter_context(only_writer(self.run.path)))
            # the folder may have changed since it was looked at without the lock
            self.goes_on = from_main_process(self.accelerator, lambda: self.run.take(self.args))
            with self.stop:
                metrics = self._train()
            if self.uploads is not None:  # what is left may be stopped like any program: the run is on disk
                self.uploads.finish(self.push_to_hub)
        return metrics

    def _train(self) -> dict[str, RetrievalMetrics]:
        if self.uploads is not None:
            self.uploads.open(goes_on=self.goes_on)
        finished = self._open_run()
        if self.args.report_to != "none":
            self.accelerator.init_trackers("two_stage")
        self.model.to(self.accelerator.device)
        if self.validation is None:
            logger.warning("no validation split: each stage keeps its last weights, and nothing is selected")
        elif not self.goes_on:
            self._record("base", "validation", 0, self.validation.by_direction(self.model))
        stages: dict[str, StageResult] = {}
        if "one" in self.args.stages:
            stages["one"] = self.stage_one(finished.get("one"))
            self._stop_between("stage one is done")
        if "two" in self.args.stages:
            stages["two"] = self.stage_two(stages.get("one"), finished.get("two"))
            self._stop_between("training is done, the test is left")
        metrics = self._test(stages)
        self.store.clear()
        if self.log is not None:
            self.log.close()
            self.run.draw_curves()
            write_run_card(self.run, self.args, stages, self.data.notes())
        self.accelerator.end_training()
        return metrics

    def push_to_hub(
        self, repo_id: str | None = None, *, private: bool | None = None, license: str | None = None
    ) -> PushedRepository | None:
        """Upload the finished run, as `prompt-clip push` does; the run folder is not changed.

        Args:
            repo_id: `USER/NAME`; by default the setting `hub_model_id`.
            private: False makes a new repository public; by default the setting `hub_private_repo`.
            license: identifier on the Hub; see [`hub_card`] for the default.

        Returns:
            Where it is now; None in all processes but the first.

        Raises:
            ValueError: no name is given; a repository that is public and should be private.
            OSError: the run is not finished; the Hub refuses, fails or cannot be reached.
        """
        repo_id = repo_id or self.args.hub_model_id
        if repo_id is None:
            raise ValueError("hub_model_id is not set; name the repository, USER/NAME")
        if not self.accelerator.is_main_process:
            return None
        private = self.args.hub_private_repo if private is None else private
        adapter_only = "two" not in self.args.stages
        pushed = push_run(self.run.path, repo_id, adapter_only=adapter_only, private=private, license=license)
        logger.info("the run is at %s (%s)", pushed.url, "private" if pushed.private else "public")
        return pushed

    def _open_run(self) -> dict[str, StageResult]:
        """Make the run folder, or find out how far the run in it has come; returns the stages that are done."""
        finished, self.checkpoint = from_main_process(self.accelerator, self._resume_point)
        self.goes_on = bool(finished or self.checkpoint)
        if self.accelerator.is_main_process:
            self.log = self.run.reopen() if self.goes_on else self.run.create(self.args)
            if self.checkpoint is not None:
                self.log.truncate_after(self.checkpoint.stage, self.checkpoint.step)
            elif finished:
                self.log.truncate_after(list(finished)[-1], sys.maxsize)
            self.data.write(self.run.path)
            picture = self.data.draw_training_set(self.run.plots, self.args.seed)
            logger.info("%d caption-image pairs to train on; a look at them: %s", len(self.pairs), picture)
        where = f"step {self.checkpoint.step} of stage {self.checkpoint.stage}" if self.checkpoint else "a new stage"
        if self.goes_on:
            logger.info("going on with the run in %s, from %s", self.run.path, where)
        self.accelerator.wait_for_everyone()
        return finished

    def _resume_point(self) -> tuple[dict[str, StageResult], Checkpoint | None]:
        """What is done and where to go on; work of the first process, which alone looks at the fingerprints."""
        data, model = data_fingerprint(self.splits, self.args), model_fingerprint(self.model, self.processor)
        self.fingerprints = {"data": data, "model": model}
        return resume_point(self.run, self.store, data, model) if self.goes_on else ({}, None)

    def _stop_between(self, where: str) -> None:
        """Stop the run if it was asked to; everything so far is on disk."""
        if self.stop.agreed():
            raise Preempted(f"asked to stop: {where}; the same command with --resume auto goes on from there")

    def stage_one(self, finished: StageResult | None = None) -> StageResult:
        """Domain adaptation: the base is frozen, only prompts (and loss heads) learn; then the prompts are merged.

        Args:
            finished: how the stage ended, where a run goes on after it.
        """
        if finished is not None:
            self.weights.place_adapter(finished.best_step)
            self.model = merged_adapter(self.model, str(self.run.adapter))
            return finished
        set_seed(self.args.seed)
        base = model_to_train(self.accelerator, self.model)
        model = prompted_model(self.args, base, self.processor, self.prompt_config, self.splits["train"])
        result = self._run_stage("one", model, partial(save_adapter, model), partial(load_adapter_weights, model))
        self.weights.place_adapter(result.best_step)
        if is_cut(self.accelerator):
            self.model = merged_adapter(self.model, str(self.run.adapter)).to(self.accelerator.device)
        else:
            self.model = model.merge_and_unload(safe_merge=True)
        return result

    def stage_two(self, stage_one: StageResult | None = None, finished: StageResult | None = None) -> StageResult:
        """Task adaptation: prompts are fixed buffers, CLIP itself is trained, or low-rank updates of it.

        Args:
            stage_one: how that stage ended, if it was run.
            finished: how this stage ended, where a run goes on after it.
        """
        if finished is not None:
            self.weights.place_model(finished.best_step, self.model if self.args.stage_two_lora_rank else None)
            load_model_weights(self.model, self.run.model)
            return finished
        set_seed(self.args.seed + 1)
        model = model_to_train(self.accelerator, self.model).requires_grad_(True)
        # the objectives have temperatures of their own, and a parameter without a gradient would stall DDP
        model.logit_scale.requires_grad_(False)
        starts = self.checkpoint is None and self.log is not None
        if starts and stage_one is not None and stage_one.best_metrics:  # where the curves go on
            self.log.write({"stage": "two", "step": 0, "split": "validation", **stage_one.best_metrics})

        if self.args.stage_two_lora_rank:
            lora = lora_model(model, self.args.stage_two_lora_rank, self.args.stage_two_lora_alpha)
            result = self._run_stage("two", lora, partial(save_adapter, lora), partial(load_adapter_weights, lora))
            lora.unload()
        else:
            save, load = partial(self.weights.save_model, model), partial(load_model_weights, model)
            result = self._run_stage("two", model, save, load)
        self.weights.place_model(result.best_step, self.model if self.args.stage_two_lora_rank else None)
        if is_cut(self.accelerator) or self.args.stage_two_lora_rank:
            load_model_weights(self.model.to(self.accelerator.device), self.run.model)
        return result

    def _run_stage(
        self,
        name: str,
        model: PromptCLIPModel | PeftModel,
        save: Callable[[Path, dict[str, torch.Tensor] | None], None],
        load: Callable[[Path], None],
    ) -> StageResult:
        """Build what a stage needs, run it, leave the best weights in the model, and free the optimizer's memory."""
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
            loop.load_state(checkpoints.restore_state(checkpoint))
        result = loop.run()
        self.accelerator.free_memory()
        checkpoints.load_best(result.best_step)
        if self.accelerator.is_main_process:
            if result.best_metrics:
                best = {"text_to_image": result.best_metrics}
                facts = self._facts("validation")
                self.run.record(result_rows(self.args, name, "validation", result.best_step, best, facts=facts))
            hashes = self.store.best_hashes(name, result.best_step)
            self.run.finish_stage(name, result, weights=hashes, **self.fingerprints)
        return result

    def _stage_loop(
        self, name: str, model: PromptCLIPModel | PeftModel, checkpoints: StageCheckpoints, done: int
    ) -> StageLoop:
        """The loop of a stage, whose loader starts after `done` steps."""
        stage = self.args.stage(name)
        objective = new_objective(self.args, name, self.model.config, self.pairs.num_identities)
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
            evaluate=self.validation and (lambda: self.validation.by_direction(model)["text_to_image"].to_dict()),
            keep=checkpoints.save_best,
            log=self.log,
            save=checkpoints.save,
            asked_to_stop=self.stop.agreed,
            max_bad_steps=self.args.max_bad_steps,
            image_names=self.pairs.image_names,
        )

    def _test(self, stages: Mapping[str, StageResult]) -> dict[str, RetrievalMetrics]:
        """Evaluate the final model on the test split, once, and draw its ranked strips."""
        evaluator = split_evaluator(self.args, self.accelerator, self.processor, self.splits, "test")
        if evaluator is None:
            logger.warning("no test split: nothing is tested")
            return {}
        encoded = evaluator.encode(self.model)
        values = evaluator.query_values(encoded)
        metrics = {direction: each.mean() for direction, each in values.items()}
        intervals = {direction: bootstrap_intervals(each) for direction, each in values.items()}
        last = list(stages)[-1]
        self._record(last, "test", stages[last].best_step, metrics, intervals)
        if self.accelerator.is_main_process:
            ranked_strips(encoded, self.splits["test"], seed=self.args.seed).save(self.run.plots / "ranked_test.png")
        return metrics

    def _facts(self, split: str) -> dict[str, Any]:
        """What belongs beside each figure on a split."""
        return evaluation_facts(self.splits[split], split, self.processor.image_size, self.args.dataset_options)

    def _record(
        self,
        stage: str,
        split: str,
        step: int,
        metrics: Mapping[str, RetrievalMetrics],
        intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    ) -> None:
        """Write an evaluation to `results.json`, and the base model's to `metrics.jsonl` too."""
        if not self.accelerator.is_main_process:
            return
        entries = {direction: values.to_dict() for direction, values in metrics.items()}
        self.run.record(result_rows(self.args, stage, split, step, entries, intervals, self._facts(split)))
        if stage == "base" and self.log is not None:  # the curves start here
            self.log.write({"stage": self.args.stages[0], "step": 0, "split": split, **entries["text_to_image"]})


if __name__ == "__main__":
    sys.exit(prompt_clip(["train", *sys.argv[1:]]))
