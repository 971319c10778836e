"""transformers: `generate` by sampling, every completion of the same length, at several batch sizes."""

import torch

from common import DTYPES, arguments, load, median_seconds, random_tokens, report

BATCHES = (1, 16, 64)


def main():
    args = arguments(__doc__, new_tokens=64, prompt_tokens=64)
    model = load(args.model, DTYPES[args.dtype]).eval()
    rates = {}
    for batch in BATCHES:
        ids = random_tokens(model, batch, args.prompt_tokens)

        def generate():
            model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0,
                min_new_tokens=args.new_tokens, max_new_tokens=args.new_tokens, pad_token_id=0,
            )

        rates[str(batch)] = batch * args.new_tokens / median_seconds(generate, 1)
    report(tokens_per_second=rates)


if __name__ == "__main__":
    main()
