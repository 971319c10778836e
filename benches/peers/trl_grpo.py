"""TRL: GRPO steps with completions of fixed length and random rewards; the median step after the first."""

import random
import statistics
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from common import arguments, load, report


class Clock(TrainerCallback):
    """Seconds of every step."""

    def __init__(self):
        self.seconds = []

    def on_step_begin(self, *args, **kwargs):
        self.begun = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.seconds.append(time.perf_counter() - self.begun)


def settings(args, folder):
    rows = args.questions * args.samples
    return GRPOConfig(
        output_dir=folder, use_cpu=True, bf16=args.dtype == "bf16", max_steps=args.steps + 1, seed=0,
        per_device_train_batch_size=rows, num_generations=args.samples, max_completion_length=args.new_tokens,
        generation_kwargs={"min_new_tokens": args.new_tokens}, beta=0.0, learning_rate=1e-6, weight_decay=0.01,
        max_grad_norm=1.0, lr_scheduler_type="constant", gradient_checkpointing=False,
        report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
    )


def main():
    args = arguments(__doc__, questions=4, samples=8, new_tokens=64, prompt_tokens=64, steps=2)
    dice = random.Random(0)
    words = [f"w{i}" for i in range(3, 8192)]
    prompts = [" ".join(dice.choices(words, k=args.prompt_tokens)) for _ in range(64)]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        GRPOTrainer(
            model=load(args.model, torch.float32),
            reward_funcs=lambda completions, **_: [dice.random() for _ in completions],
            args=settings(args, folder),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
            processing_class=AutoTokenizer.from_pretrained(args.model),
            callbacks=[clock],
        ).train()
    report(seconds_per_step=statistics.median(clock.seconds[1:]), steps_seconds=clock.seconds)


if __name__ == "__main__":
    main()
