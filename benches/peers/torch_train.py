"""PyTorch: optimizer updates on 8 sequences of 256 tokens. bf16 is autocast over f32 weights."""

import torch

from common import arguments, load, median_seconds, random_tokens, report


def main():
    args = arguments(__doc__, steps=3, sequences=8, tokens=256)
    model = load(args.model, torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.01, fused=True)
    ids = random_tokens(model, args.sequences, args.tokens)

    def update():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    taken = median_seconds(update, args.steps)
    report(seconds_per_update=taken, tokens_per_second=args.sequences * args.tokens / taken)


if __name__ == "__main__":
    main()
