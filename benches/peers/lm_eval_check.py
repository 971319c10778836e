"""EleutherAI's harness against `thinktune serve` and against transformers on the same checkpoint.

Two tasks of its own, made here as local files: one generates and one compares log-likelihoods. Those of the second
must agree within 1e-3, and so must what the first generates greedily.

python lm_eval_check.py --thinktune ../../target/release/thinktune --model ../../assets/word-problems/teacher
"""

import argparse
import json
import pathlib
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager

from served import Served

TASKS = pathlib.Path(__file__).parent / "lm_eval_tasks"


def write_data(folder, count=24):
    with open(folder / "shop_words.jsonl", "w") as words, open(folder / "shop_choice.jsonl", "w") as choice:
        for i in range(count):
            a, b = 3 + i, 2 + 5 * i % 17
            question = f"Ann has {a} pens and buys {b} pens. How many pens does Ann have?"
            words.write(json.dumps({"question": question, "answer": str(a + b)}) + "\n")
            choices = [f" {a + b}", f" {a + b + 1}", f" Ann has {a + b}", f" {a} pens"]
            choice.write(json.dumps({"question": question, "choices": choices, "gold": 0}) + "\n")


def write_tasks(folder):
    for task in TASKS.glob("*.yaml"):
        (folder / task.name).write_text(task.read_text().replace("DATA", str(folder)))


def evaluate(model, arguments, folder):
    results = lm_eval.simple_evaluate(
        model=model, model_args=arguments, tasks=["shop_words", "shop_choice"], log_samples=True, batch_size=1,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False), bootstrap_iters=0,
    )
    return results["samples"], {name: results["results"][name] for name in ("shop_words", "shop_choice")}


def choices(samples):
    """Per question: log-likelihood and greediness of each choice."""
    return [[(float(ll), bool(greedy)) for ll, greedy in sample["filtered_resps"]] for sample in samples["shop_choice"]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--thinktune", required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_data(folder)
        write_tasks(folder)
        theirs, their_table = evaluate("hf", f"pretrained={args.model},dtype=float32,device=cpu", folder)
        with Served(args.thinktune, args.model) as served:
            arguments = (
                f"model=served,base_url={served.url}/completions,tokenizer={args.model},num_concurrent=8,"
                "tokenized_requests=True,max_length=1024"
            )
            ours, our_table = evaluate("local-completions", arguments, folder)
    pairs = [pair for a, b in zip(choices(ours), choices(theirs)) for pair in zip(a, b)]
    worst = max(abs(a[0] - b[0]) for a, b in pairs)
    print(f"{len(pairs)} log-likelihoods, largest difference {worst:.2e}, tolerance 1e-03")
    said = [[s["resps"][0][0] for s in samples["shop_words"]] for samples in (ours, theirs)]
    same = sum(a == b for a, b in zip(*said))
    print(f"{same} of {len(said[0])} greedy answers are equal")
    print("such as", json.dumps(said[0][:2]))
    assert all(text.strip() for text in said[0]), "an empty answer compares nothing"
    for name, table in (("serve", our_table), ("transformers", their_table)):
        print(name, json.dumps({task: {k: v for k, v in row.items() if k != "alias"} for task, row in table.items()}))
    assert worst < 1e-3 and all(a[1] == b[1] for a, b in pairs)
    assert same == len(said[0])
    print("lm_eval", lm_eval.__version__, "agrees")


if __name__ == "__main__":
    main()
