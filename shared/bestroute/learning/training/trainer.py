"""HuggingFace's Trainer as this library uses it; importing this module imports torch."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from bestroute.errors import ConfigError

Rows = Sequence[Any]
Metrics = dict[str, float]


class Training:
    """One run of HuggingFace's Trainer, which goes on where an earlier one was cut short.

    Its checkpoints lie in `output/checkpoints` until `close`. A run with other settings starts
    from the beginning.

    Args:
        module: Returns `loss` and `logits` for what `collate` makes; `forward` takes no
            `**kwargs`, or the Trainer would leave the mean over accumulated batches to it.
        collate: Rows -> a batch of tensors, `labels` among them, all of batch size first.
        output: Folder of the result.
        settings: All that the result depends on, JSON-able; tells one run from another.
        epochs, learning_rate, batch_size, accumulation_steps, seed: See `train_reward`.
        keep_best: Keep the epoch of least held-out loss, or the start; else the last epoch.
        metrics: Held-out predictions -> figures by name.
        progress: Told of every step of the optimiser.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        collate: Callable[[Rows], dict[str, Any]],
        train: Rows,
        held_out: Rows,
        output: Path,
        *,
        settings: Mapping[str, Any],
        epochs: int,
        learning_rate: float,
        batch_size: int,
        accumulation_steps: int,
        seed: int,
        keep_best: bool = False,
        metrics: Callable[[EvalPrediction], Metrics] | None = None,
        progress: Callable[[str, int, int], None],
    ) -> None:
        if min(epochs, batch_size, accumulation_steps) < 1 or not learning_rate > 0:
            raise ConfigError("epochs, batch size, steps and learning rate must be above 0")
        options = [epochs, learning_rate, batch_size, accumulation_steps, seed]
        text = json.dumps([settings, options], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._all_checkpoints = output / "checkpoints"
        self._checkpoints = self._all_checkpoints / digest
        self._module, self._keep_best = module, keep_best
        self._held_out = bool(held_out)
        self._seed = seed
        each_epoch = "epoch" if keep_best else "no"
        self._trainer = Trainer(
            model=module,
            args=TrainingArguments(
                output_dir=str(self._checkpoints),
                num_train_epochs=epochs,
                learning_rate=learning_rate,
                per_device_train_batch_size=batch_size,
                per_device_eval_batch_size=batch_size,
                gradient_accumulation_steps=accumulation_steps,
                seed=seed,
                eval_strategy=each_epoch,
                load_best_model_at_end=keep_best,
                metric_for_best_model="eval_loss" if keep_best else None,
                save_strategy="epoch",
                save_total_limit=1,
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                label_names=["labels"],
                dataloader_pin_memory=torch.cuda.is_available(),
            ),
            data_collator=collate,
            train_dataset=train,
            eval_dataset=held_out or None,
            compute_metrics=metrics,
            callbacks=[_Reporter(progress)],
        )
        self._trainer.remove_callback(PrinterCallback)  # the command line owns the terminal

    def measure(self) -> Metrics:
        """Held-out figures of the module as it is; empty without held-out rows."""
        return self._trainer.evaluate() if self._held_out else {}

    def run(self) -> None:
        """Train, from the last complete checkpoint if there is one."""
        start = copy.deepcopy(self._module.state_dict()) if self._keep_best else {}
        loss = self.measure().get("eval_loss", 0.0)
        set_seed(self._seed)  # whatever was measured before
        # The state is written last: a checkpoint without it was cut short itself.
        complete = [path.parent for path in self._checkpoints.glob("*/trainer_state.json")]
        last = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
        self._trainer.train(resume_from_checkpoint=str(last) if last else None)
        if self._keep_best and self.measure()["eval_loss"] >= loss:
            self._module.load_state_dict(start)

    def close(self, save: Callable[[], None]) -> None:
        """Save the result, in one process only, then remove the checkpoints."""
        if self._trainer.is_world_process_zero():
            save()
            shutil.rmtree(self._all_checkpoints, ignore_errors=True)
        self._trainer.accelerator.wait_for_everyone()


class _Reporter(TrainerCallback):
    def __init__(self, progress: Callable[[str, int, int], None]) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress("training", state.global_step, state.max_steps)
