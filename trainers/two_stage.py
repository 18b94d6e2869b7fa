"""Two-stage training: prompts adapt CLIP to the domain, then CLIP adapts to the task.

`accelerate launch -m trainers.two_stage --config NAME_OR_FILE [--any_field VALUE]` is the same as `prompt-clip train
...`. After "Prompt Decoupling" (arXiv 2401.02173); losses, schedules and prompt layout are ours.
"""

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from transformers import TrainerCallback

from dataset_scripts.common.files import new_folder
from dataset_scripts.common.hub import PushedRepository
from modeling_prompt_clip import DeepPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.cli import main as prompt_clip
from modeling_prompt_clip.retrieval import RetrievalMetrics
from trainers.arguments.resolved import resolve_settings
from trainers.arguments.settings import TwoStageTrainingArguments
from trainers.data.fingerprint import data_fingerprint
from trainers.data.splits import named_splits, prepare_splits
from trainers.data.training_pairs import training_pairs
from trainers.distributed.gather import from_main_process
from trainers.distributed.launch_check import check_launch, check_sharding
from trainers.distributed.preemption import Preempted, StopRequest
from trainers.publishing import HubUploads, push_run
from trainers.publishing.run_card import write_run_card
from trainers.run_folder.checkpoint_store import Checkpoint, CheckpointStore
from trainers.run_folder.evaluated_data import check_earlier_runs
from trainers.run_folder.folder import RunFolder
from trainers.run_folder.lock import check_unused, only_writer
from trainers.run_folder.model_fingerprint import model_fingerprint
from trainers.run_folder.results import StageResult
from trainers.run_folder.resume_point import resume_point
from trainers.run_folder.trackers import trackers
from trainers.stages.best_weights import RunWeights
from trainers.stages.callbacks import checked_callbacks
from trainers.stages.evaluation import RunEvaluation
from trainers.stages.layer_modes import check_compiler
from trainers.stages.module import check_own_losses
from trainers.stages.runner import StageRunner
from trainers.stages.starting_model import chosen_processor, load_base, merged_adapter, new_prompt_config

logger = logging.getLogger(__name__)


class TwoStageTrainer:
    """Trains a PromptCLIP in two stages and leaves a run folder.

    ```python
    >>> clip, data = "openai/clip-vit-base-patch16", "CUHK-PEDES"
    >>> args = TwoStageTrainingArguments(clip, dataset="cuhk_pedes", data_dir=data, output_dir="runs/cuhk")
    >>> TwoStageTrainer(args).train()
    ```

    Or, with the names of transformers' `Trainer`:

    ```python
    >>> trainer = TwoStageTrainer(
    ...     model=model, args=args, train_dataset=train, eval_dataset=validation, test_dataset=test,
    ...     processing_class=processor, callbacks=[EarlyStoppingCallback(3)],
    ... )
    ```

    Args:
        args: the settings.
        model: start from this model instead of `args.base_model`; it is trained in place. It needs `processing_class`.
        processor: another name of `processing_class`.
        splits: `train`, `validation` and `test` under these names, instead of the three arguments below.
        train_dataset: train on these rows, or this stream, instead of `args.dataset`.
        eval_dataset: rows that select the weights; without them each stage keeps its last weights.
        test_dataset: rows that the final model is tested on once.
        processing_class: the processor to use instead of that of `args.base_model`.
        callbacks: transformers' callbacks, classes or instances, see `docs/training.md`.

    Raises ValueError, TypeError, OSError: anything that can be known to be wrong before training: the settings,
        arguments that exclude each other, the base model, the adapter, the data set, a run folder that is taken.
    """

    def __init__(
        self,
        args: TwoStageTrainingArguments,
        model: PromptCLIPModel | None = None,
        processor: PromptCLIPProcessor | None = None,
        splits: Mapping[str, datasets.Dataset | datasets.IterableDataset] | None = None,
        *,
        train_dataset: datasets.Dataset | datasets.IterableDataset | None = None,
        eval_dataset: datasets.Dataset | None = None,
        test_dataset: datasets.Dataset | None = None,
        processing_class: PromptCLIPProcessor | None = None,
        callbacks: Sequence[TrainerCallback | type[TrainerCallback]] | None = None,
    ) -> None:
        if not isinstance(args, TwoStageTrainingArguments):
            raise TypeError(f"args is a {type(args).__name__}; pass TwoStageTrainingArguments, and model by its name")
        processor = chosen_processor(model, processor, processing_class, args)
        splits = named_splits(splits, {"train": train_dataset, "validation": eval_dataset, "test": test_dataset})
        self.run = RunFolder(args.output_dir)
        self.args = args = self.run.drawn_as_before(resolve_settings(args, model, splits))
        self.goes_on = self.run.take(args)
        check_own_losses(args)
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),  # without it several processes would not find each other there
            mixed_precision=args.mixed_precision,
            log_with=trackers(args.report_to) or None,
            project_config=ProjectConfiguration(project_dir=args.output_dir, logging_dir=args.output_dir),
        )
        check_launch(self.accelerator)
        check_sharding(self.accelerator, args)
        from_main_process(self.accelerator, lambda: check_unused(self.run.path))
        if args.compile:
            check_compiler(self.accelerator.device)
        self.stop = StopRequest(self.accelerator)
        self.store = CheckpointStore(
            self.run.checkpoints, writer=self.accelerator.is_main_process, keep=args.save_total_limit
        )
        prompt_config = self._load(model, processor, splits)
        self.evaluation = RunEvaluation(args, self.accelerator, self.processor, self.data.splits, self.run)
        self.uploads: HubUploads | None = None
        if args.push_to_hub and self.accelerator.is_main_process:
            self.uploads = HubUploads(args, self.run)
        self.runner = StageRunner(
            *(args, self.accelerator, self.run, self.store),
            weights=RunWeights(self.accelerator, self.run, self.store, self.processor),
            processor=self.processor,
            prompt_config=prompt_config,
            train=self.data.splits["train"],
            pairs=self.pairs,
            batches_per_epoch=self.pairs.batches_per_epoch(args.batch_size, self.accelerator.num_processes),
            evaluation=self.evaluation,
            stop=self.stop,
            uploads=self.uploads,
            callbacks=checked_callbacks(callbacks),
        )

    def _load(
        self,
        model: PromptCLIPModel | None,
        processor: PromptCLIPProcessor | None,
        splits: Mapping[str, datasets.Dataset | datasets.IterableDataset] | None,
    ) -> DeepPromptConfig | None:
        """Load and check what the caller did not pass; return the prompts that stage one will train."""
        args = self.args
        # the data first: most of what goes wrong is there, and a base model may have to be downloaded
        with self.accelerator.main_process_first():  # what the first builds and hashes, the others find
            if splits is None:
                check_earlier_runs(args)
            self.data = prepare_splits(args, splits)
        set_seed(args.seed)
        if model is None or processor is None:
            model, processor = load_base(args, processor)
        self.model, self.processor = model, processor
        self.processor.clean_captions = args.clean_captions  # evaluated and published as it is trained
        if args.adapter:
            self.model = merged_adapter(self.model, args.adapter)
        prompt_config = new_prompt_config(args, self.model)
        with self.accelerator.main_process_first():  # the others find the tokens that the first has kept
            self.pairs = training_pairs(args, self.processor, self.data.splits["train"])
        return prompt_config

    def train(self) -> dict[str, RetrievalMetrics]:
        """Run the stages that the settings name, then evaluate the test split once, unless `no_test` is set.

        Returns:
            The test metrics under "text_to_image" and "image_to_text"; empty without a test split
            or with `no_test`.

        Raises:
            Preempted: SIGTERM or SIGUSR1 stopped the run, which has saved a checkpoint for `resume: auto`.
            ValueError, OSError: the run cannot resume from its checkpoint, or diverges, or cannot write.
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
        if self.accelerator.log_with:
            self.accelerator.init_trackers("two_stage")
        self.model.to(self.accelerator.device)
        if not self.goes_on:
            self.evaluation.start(self.model, self.runner.log)
        stages: dict[str, StageResult] = {}
        if "one" in self.args.stages:
            stages["one"] = self.stage_one(finished.get("one"))
            self._stop_between("stage one is done")
        if "two" in self.args.stages:
            stages["two"] = self.stage_two(stages.get("one"), finished.get("two"))
            self._stop_between("training is done, the test is left")
        last = list(stages)[-1]
        metrics = self.evaluation.test(self.model, last, stages[last].best_step)
        self.store.clear()
        if self.runner.log is not None:
            self.runner.log.close()
            self.run.draw_curves()
            write_run_card(self.run, self.args, stages, self.data.notes())
        self.accelerator.end_training()
        return metrics

    def stage_one(self, finished: StageResult | None = None) -> StageResult:
        """Adapt to the domain, see [`StageRunner.stage_one`]; the model then has the merged prompts."""
        self.model, result = self.runner.stage_one(self.model, finished)
        return result

    def stage_two(self, stage_one: StageResult | None = None, finished: StageResult | None = None) -> StageResult:
        """Adapt to the task, see [`StageRunner.stage_two`]."""
        return self.runner.stage_two(self.model, stage_one, finished)

    def add_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """Add a transformers callback, class or instance, before `train`."""
        self.runner.callbacks = [*self.runner.callbacks, *checked_callbacks([callback])]

    def evaluate(
        self, eval_dataset: datasets.Dataset | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return metrics of the current model, such as `eval_text_to_image_R@1`, in percent.

        Args:
            eval_dataset: rows to evaluate on; by default the validation split.
            metric_key_prefix: put before each name, with `_`.

        Raises ValueError: there is no validation split, or the rows are not in our format.
        """
        evaluator = self.evaluation.evaluator("validation", eval_dataset)
        if evaluator is None:
            raise ValueError("the run has no validation split to evaluate on; pass eval_dataset")
        metrics = evaluator(self.model.to(self.accelerator.device))
        return {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}

    def save_model(self, output_dir: str | Path | None = None) -> None:
        """Save the current model, with merged prompts, and its processor; all processes must call it.

        Args:
            output_dir: a new folder; by default `model/` in the run folder, which `train` has left there.

        Raises OSError: the folder exists or cannot be written; by default, `train` has left no model.
        """
        if output_dir is None and self.run.model.exists():
            return
        if output_dir is None:
            raise FileNotFoundError(f"{self.run.model} is written by stage two; pass output_dir to save the model now")

        def save(target: str | Path = output_dir) -> None:
            with new_folder(target, replace_empty=True) as folder:
                self.runner.weights.save_model(self.model, folder)

        from_main_process(self.accelerator, save)

    def push_to_hub(
        self, repo_id: str | None = None, *, private: bool | None = None, license: str | None = None
    ) -> PushedRepository | None:
        """Upload the finished run like `prompt-clip push`; the run folder does not change.

        Args:
            repo_id: `USER/NAME`; by default the setting `hub_model_id`.
            private: False makes a new repository public; by default the setting `hub_private_repo`.
            license: identifier on the Hub; see [`hub_card`] for the default.

        Returns:
            The repository; None in all processes but the first.

        Raises:
            ValueError: no name, or a public repository that should be private.
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
        """Create the run folder, or find how far its run has come; return the finished stages."""
        finished, checkpoint = from_main_process(self.accelerator, self._resume_point)
        self.runner.checkpoint, self.goes_on = checkpoint, bool(finished or checkpoint)
        if self.accelerator.is_main_process:
            log = self.runner.log = self.run.reopen() if self.goes_on else self.run.create(self.args)
            if checkpoint is not None:
                log.truncate_after(checkpoint.stage, checkpoint.step)
            elif finished:
                log.truncate_after(list(finished)[-1], sys.maxsize)
            self.data.write(self.run.path)
            picture = self.data.draw_training_set(self.run.plots, self.args.seed)
            logger.info("%d caption-image pairs to train on; contact sheet: %s", len(self.pairs), picture)
        if self.goes_on:
            where = f"step {checkpoint.step} of stage {checkpoint.stage}" if checkpoint else "a new stage"
            logger.info("resuming the run in %s from %s", self.run.path, where)
        self.accelerator.wait_for_everyone()
        return finished

    def _resume_point(self) -> tuple[dict[str, StageResult], Checkpoint | None]:
        """Find the finished stages and the checkpoint to resume from; only the first process does."""
        data, model = data_fingerprint(self.data.splits, self.args), model_fingerprint(self.model, self.processor)
        self.runner.fingerprints = {"data": data, "model": model}
        return resume_point(self.run, self.store, data, model) if self.goes_on else ({}, None)

    def _stop_between(self, where: str) -> None:
        """Stop the run between stages if asked to; everything is on disk."""
        if self.stop.agreed():
            raise Preempted(f"asked to stop: {where}; resume with the same command and --resume auto")


if __name__ == "__main__":
    sys.exit(prompt_clip(["train", *sys.argv[1:]]))
