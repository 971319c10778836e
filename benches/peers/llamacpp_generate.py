"""llama.cpp: sampling many completions side by side in one context, every completion of the same length.

The model directory is written as GGUF first (Llama family, no vocabulary: ids go in and come out)."""

import pathlib
import tempfile
import time

import gguf
import llama_cpp.llama_cpp as llama
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from common import DTYPES, arguments, report

BATCHES = (1, 16, 64)
QUIET = llama.llama_log_callback(lambda level, text, data: None)


def interleaved(weight, heads):
    """Rope pairs neighbours in GGUF, halves in Hugging Face checkpoints."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def write_gguf(directory, dtype, path):
    config = AutoConfig.from_pretrained(directory)
    tensors = load_file(pathlib.Path(directory) / "model.safetensors")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if dtype == "bf16" else gguf.LlamaFileType.ALL_F32)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in tensors.items():
        if name.endswith("q_proj.weight"):
            weight = interleaved(weight, config.num_attention_heads)
        if name.endswith("k_proj.weight"):
            weight = interleaved(weight, config.num_key_value_heads)
        target = names.get_name(name, try_suffixes=(".weight",))
        if dtype == "bf16" and weight.ndim == 2:
            bits = weight.to(torch.bfloat16).view(torch.uint16).numpy()
            writer.add_tensor(target, bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(target, weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def sampler(seed):
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(seed))
    return chain


def fill(batch, tokens, positions, sequences, wanted):
    batch.n_tokens = len(tokens)
    for i, (token, position, sequence, logits) in enumerate(zip(tokens, positions, sequences, wanted)):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
        batch.seq_id[i][0], batch.logits[i] = sequence, logits


def generate(model, rows, prompts, new_tokens, threads):
    """Seconds for all completions, prompts included."""
    length = prompts.shape[1]
    params = llama.llama_context_default_params()
    params.n_ctx = rows * (length + new_tokens)
    params.n_batch = params.n_ubatch = max(512, rows)
    params.n_seq_max = rows
    params.n_threads = params.n_threads_batch = threads
    context = llama.llama_init_from_model(model, params)
    batch = llama.llama_batch_init(max(512, rows), 0, 1)
    samplers = [sampler(seed) for seed in range(rows)]
    start = time.perf_counter()
    last = [0] * rows
    together = max(1, 512 // length)
    for first in range(0, rows, together):
        chosen = range(first, min(rows, first + together))
        fill(
            batch,
            [int(token) for row in chosen for token in prompts[row]],
            [position for _ in chosen for position in range(length)],
            [row for row in chosen for _ in range(length)],
            [position == length - 1 for _ in chosen for position in range(length)],
        )
        assert llama.llama_decode(context, batch) == 0
        for index, row in enumerate(chosen):
            last[row] = llama.llama_sampler_sample(samplers[row], context, (index + 1) * length - 1)
    for position in range(length, length + new_tokens - 1):
        fill(batch, last, [position] * rows, range(rows), [True] * rows)
        assert llama.llama_decode(context, batch) == 0
        last = [llama.llama_sampler_sample(samplers[row], context, row) for row in range(rows)]
    seconds = time.perf_counter() - start
    llama.llama_batch_free(batch)
    llama.llama_free(context)
    return seconds


def main():
    args = arguments(__doc__, new_tokens=64, prompt_tokens=64, threads=torch.get_num_threads())
    assert args.dtype in DTYPES
    llama.llama_log_set(QUIET, None)
    llama.llama_backend_init()
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.gguf"
        write_gguf(args.model, args.dtype, path)
        model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        vocab = AutoConfig.from_pretrained(args.model).vocab_size
        for rows in BATCHES:
            prompts = np.random.default_rng(0).integers(0, vocab, (rows, args.prompt_tokens))
            run = lambda: generate(model, rows, prompts, args.new_tokens, args.threads)
            run()
            rates[str(rows)] = rows * args.new_tokens / min(run(), run())
    report(tokens_per_second=rates)


if __name__ == "__main__":
    main()
