"""What the measurements share: a clock, random tokens, one JSON object on standard output."""

import argparse
import json
import resource
import statistics
import time

import torch
from transformers import AutoModelForCausalLM

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def arguments(doc, **defaults):
    """--model and --dtype, and a whole number for every further name."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--model", help="model directory")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    for name, default in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    return parser.parse_args()


def load(path, dtype):
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def random_tokens(model, rows, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.config.vocab_size, (rows, length), generator=generator)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_seconds(work, times):
    """After one run that does not count."""
    work()
    return statistics.median(seconds(work) for _ in range(times))


def fastest_seconds(work, long_enough=0.6):
    """The fastest of the runs that fit into `long_enough` seconds."""
    begun, fastest = time.perf_counter(), float("inf")
    while time.perf_counter() - begun < long_enough:
        fastest = min(fastest, seconds(work))
    return fastest


def report(**result):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**result, "threads": torch.get_num_threads(), "peak_rss_mib": peak}))
