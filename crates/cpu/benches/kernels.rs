//! The kernels one by one, on one thread: `cargo bench -p thinktune-kernels`. Sizes are those of the 27.8 M-parameter
//! model of `docs/performance.md`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use thinktune_compute::AdamWStep;
use thinktune_cpu::adamw::update_chunk;
use thinktune_cpu::attention::{Heads, Saved, Span, attend, attend_backward, push_keys};
use thinktune_cpu::elementwise::{swiglu, swiglu_backward};
use thinktune_cpu::gemm::{Packed, Scratch, Threads, View, gemm};
use thinktune_cpu::head::{draw, log_normaliser, logprob_backward};
use thinktune_cpu::norm::{rms_norm, rms_norm_backward};
use thinktune_cpu::rope::rope;
use thinktune_cpu::{Precision, isa};

const HEADS: Heads = Heads { query: 8, kv: 4, dim: 64 };

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7919 % 251) as f32 / 251.0 - 0.5).collect()
}

/// y = x W^T for few and many rows, and dW += dy^T x: elements are multiply-adds.
fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("gemm {}", isa().name()));
    for precision in [Precision::F32, Precision::Bf16] {
        for [m, k, n] in
            [[1, 512, 1408], [16, 512, 1408], [64, 512, 1408], [512, 512, 1408], [1408, 2048, 512]]
        {
            let (a, b, mut out) = (numbers(m * k), numbers(k * n), vec![0.0; m * n]);
            let mut scratch = Scratch::default();
            let packed = Packed::new(View::new(&b, k, n), precision);
            let rows = scratch.rows(View::new(&a, m, k), precision, Threads::One);
            group.throughput(Throughput::Elements((m * k * n) as u64));
            group.bench_function(BenchmarkId::new(precision.name(), format!("{m}x{k}x{n}")), |bench| {
                bench.iter(|| gemm(rows, &packed, &mut out, true, Threads::One));
            });
        }
    }
    group.finish();
}

/// Laying out operands: elements are those of the matrix.
fn packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("pack 2048x1408");
    let x = numbers(2048 * 1408);
    let view = View::new(&x, 2048, 1408);
    group.throughput(Throughput::Elements(x.len() as u64));
    for precision in [Precision::F32, Precision::Bf16] {
        let (mut scratch, mut packed) = (Scratch::default(), Packed::default());
        group.bench_function(format!("{} rows", precision.name()), |bench| {
            bench.iter(|| black_box(scratch.rows(view, precision, Threads::One)).m());
        });
        group.bench_function(format!("{} rows of the transpose", precision.name()), |bench| {
            bench.iter(|| black_box(scratch.rows(view.t(), precision, Threads::One)).m());
        });
        group.bench_function(format!("{} panels", precision.name()), |bench| {
            bench.iter(|| packed.fill(view, precision, Threads::One));
        });
        group.bench_function(format!("{} panels of the transpose", precision.name()), |bench| {
            bench.iter(|| packed.fill(view.t(), precision, Threads::One));
        });
    }
    group.finish();
}

/// A sequence through attention, forward and backward, and one token against a cache.
fn attention(c: &mut Criterion) {
    const TOKENS: usize = 256;
    let (q_width, kv_width) = (HEADS.query * HEADS.dim, HEADS.kv * HEADS.dim);
    let (q, k, v) = (numbers(TOKENS * q_width), numbers(TOKENS * kv_width), numbers(TOKENS * kv_width));
    let mut keys = Vec::new();
    push_keys(&mut keys, 0, &k, kv_width);
    let own = Span { keys: &keys, values: &v, len: TOKENS };
    let (mut out, mut lse, mut scratch) = (vec![0.0; q.len()], vec![0.0; TOKENS * HEADS.query], Vec::new());
    let mut group = c.benchmark_group("attention 256 tokens");
    let pairs = (TOKENS * TOKENS / 2 * q_width) as u64;
    group.throughput(Throughput::Elements(2 * pairs));
    group.bench_function("forward", |bench| {
        bench.iter(|| attend(&q, &[], own, 0, HEADS, &mut scratch, &mut out, &mut lse));
    });
    let saved = Saved { q: &q, k: [&[], &k], v: [&[], &v], out: &out, lse: &lse };
    let d_out = numbers(q.len());
    let (mut dq, mut dk, mut dv) =
        (vec![0.0; q.len() / HEADS.kv], vec![0.0; k.len() / HEADS.kv], vec![0.0; v.len() / HEADS.kv]);
    group.throughput(Throughput::Elements(5 * pairs / HEADS.kv as u64));
    group.bench_function("backward, one key/value head", |bench| {
        bench.iter(|| attend_backward(saved, &d_out, HEADS, 0, &mut scratch, &mut dq, &mut dk, &mut dv));
    });
    group.throughput(Throughput::Elements((2 * TOKENS * q_width) as u64));
    group.bench_function("one token", |bench| {
        let (out, lse) = (&mut out[..q_width], &mut lse[..HEADS.query]);
        bench.iter(|| attend(&q[..q_width], &[], own, TOKENS - 1, HEADS, &mut scratch, out, lse));
    });
    group.finish();
}

/// Everything that goes over rows once.
fn rows(c: &mut Criterion) {
    const TOKENS: usize = 64;
    let mut group = c.benchmark_group("rows");
    let (x, weight, dy) = (numbers(TOKENS * 512), numbers(512), numbers(TOKENS * 512));
    let (mut y, mut inverse) = (x.clone(), vec![0.0; TOKENS]);
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("rms_norm", |bench| bench.iter(|| rms_norm(&x, &weight, 1e-5, &mut y)));
    group.bench_function("rms_norm backward", |bench| {
        bench.iter(|| rms_norm_backward(&x, &weight, 1e-5, &dy, &mut y, &mut inverse));
    });
    let positions: Vec<usize> = (0..TOKENS).collect();
    let angles = vec![0.6; TOKENS * 32];
    group.bench_function("rope", |bench| bench.iter(|| rope(&mut y, 8, &angles, &angles, &positions, false)));
    let (mut gate, mut up) = (numbers(TOKENS * 1408), numbers(TOKENS * 1408));
    let mut product = numbers(TOKENS * 1408);
    group.throughput(Throughput::Elements(gate.len() as u64));
    group.bench_function("swiglu", |bench| bench.iter(|| swiglu(&gate, &up, &mut product)));
    group.bench_function("swiglu backward", |bench| {
        bench.iter(|| swiglu_backward(&mut gate, &mut up, &product))
    });
    let logits = numbers(8192);
    let normaliser = log_normaliser(&logits, 1.0);
    let mut d_logits = logits.clone();
    group.throughput(Throughput::Elements(8192));
    group.bench_function("log-softmax and entropy", |bench| bench.iter(|| log_normaliser(&logits, 1.0)));
    group.bench_function("log-prob backward", |bench| {
        bench.iter(|| logprob_backward(&mut d_logits, normaliser.scale, normaliser.lse as f32, 17, 1e-3));
    });
    group.bench_function("draw, half way on average", |bench| bench.iter(|| draw(&logits, normaliser, 0.5)));
    let constants = AdamWStep {
        lr: 1e-6,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        grad_scale: 1.0,
        update: 1,
    };
    let (mut weights, mut grads) = (numbers(1 << 16), numbers(1 << 16));
    let (mut first, mut second) = (vec![0.0; 1 << 16], vec![0.0; 1 << 16]);
    group.throughput(Throughput::Elements(1 << 16));
    group.bench_function("adamw", |bench| {
        bench.iter(|| update_chunk(&mut weights, &mut grads, &mut first, &mut second, constants, 1e-5, 0.03));
    });
    group.finish();
}

criterion_group!(kernels, products, packing, attention, rows);
criterion_main!(kernels);
