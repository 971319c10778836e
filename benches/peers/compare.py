"""Measures thinktune and its peers on one model directory, in turns, and prints the ratios side by side.

    python compare.py --thinktune ../../target/release/thinktune --model MODEL_DIR [--only step,train,decode,gemm]
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
GRPO = {"questions": 4, "samples": 8, "new_tokens": 64, "prompt_tokens": 64}
DECODE = {"new_tokens": 64, "prompt_tokens": 64}


def options(**values):
    return [part for name, value in values.items() for part in ("--" + name.replace("_", "-"), str(value))]


def last_line(command):
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


class Pairs:
    """Runs ours right before theirs and prints the lines of the table as they come."""

    def __init__(self, thinktune, model):
        self.thinktune, self.model = thinktune, model

    def ours(self, dtype, *args):
        return last_line([self.thinktune, "bench", "--json", "--precision", dtype, *args])

    def theirs(self, script, dtype, *args):
        return last_line([sys.executable, HERE / script, "--model", self.model, "--dtype", dtype, *args])

    def line(self, work, ours, peer, theirs, faster):
        print(f"| {work} | {ours:,.4g} | {peer} | {theirs:,.4g} | {faster:.2f} |", flush=True)

    def step(self):
        for dtype in ("f32", "bf16"):
            ours = self.ours(dtype, "--model", self.model, "--steps", "3", *options(**GRPO))
            theirs = self.theirs("trl_grpo.py", dtype, *options(**GRPO))
            a, b = ours["seconds_per_step"], theirs["seconds_per_step"]
            self.line(f"GRPO step {dtype}, s", a, f"TRL {dtype}", b, b / a)
            a, b = ours["peak_rss_mib"], theirs["peak_rss_mib"]
            self.line(f"GRPO step {dtype}, peak MiB", a, f"TRL {dtype}", b, b / a)

    def train(self):
        for dtype in ("f32", "bf16"):
            ours = self.ours(dtype, "--part", "train", "--model", self.model, "--steps", "5")["tokens_per_second"]
            theirs = self.theirs("torch_train.py", dtype)["tokens_per_second"]
            self.line(f"training {dtype}, 8 x 256, tokens/s", ours, f"PyTorch {dtype}", theirs, ours / theirs)

    def decode(self):
        for script, peer in (("hf_generate.py", "transformers"), ("llamacpp_generate.py", "llama.cpp")):
            for dtype in ("f32", "bf16"):
                ours = self.ours(dtype, "--part", "decode", "--model", self.model, *options(**DECODE))
                theirs = self.theirs(script, dtype, *options(**DECODE))["tokens_per_second"]
                for batch, a in ours["tokens_per_second"].items():
                    b = theirs[batch]
                    self.line(f"generation {dtype}, batch {batch}, tokens/s", a, f"{peer} {dtype}", b, a / b)

    def gemm(self):
        for dtype in ("f32", "bf16"):
            ours = self.ours(dtype, "--part", "gemm")["products"]
            theirs = self.theirs("torch_gemm.py", dtype)["products"]
            for shape, product in theirs.items():
                a, b = ours[shape]["gflops"], product["gflops"]
                self.line(f"product {dtype} {shape}, GFLOP/s", a, f"PyTorch {dtype}", b, a / b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thinktune", required=True, help="the program")
    parser.add_argument("--model", required=True, help="model directory; make_model.py writes one")
    parser.add_argument("--only", default="gemm,train,decode,step", help="parts, separated by commas")
    args = parser.parse_args()
    pairs = Pairs(args.thinktune, args.model)
    print("| work | thinktune | peer | peer's | times as fast, or as small |\n|---|---|---|---|---|")
    for part in args.only.split(","):
        getattr(pairs, part)()


if __name__ == "__main__":
    main()
