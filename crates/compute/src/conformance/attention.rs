//! Attention: masks, prefixes, cached sequences and their forks.

use super::{REFERENCE, close, down, layout, numbers, part, same_bits, up};
use crate::{Attended, Backend, Heads, RowLayout};

const SHAPES: [Heads; 4] = [
    Heads { query: 1, kv: 1, dim: 2 },
    Heads { query: 4, kv: 2, dim: 18 },
    Heads { query: 6, kv: 1, dim: 16 },
    Heads { query: 3, kv: 3, dim: 33 },
];

pub(super) fn run<B: Backend>(backend: &B) {
    for heads in SHAPES {
        for spans in [
            vec![],
            vec![(1, None)],
            vec![(17, None), (1, None), (37, None)],
            vec![(20, None), (5, Some(0)), (33, Some(0)), (3, None), (7, Some(3))],
        ] {
            packed(backend, heads, &layout(&spans));
        }
        cached(backend, heads);
        forks(backend, heads);
    }
}

/// Queries, keys and values of some rows.
fn inputs(rows: usize, heads: Heads) -> [Vec<f32>; 3] {
    [
        numbers(rows * heads.q_width(), 1),
        numbers(rows * heads.kv_width(), 2),
        numbers(rows * heads.kv_width(), 3),
    ]
}

/// Output and log-sum-exp.
fn attend<B: Backend>(
    backend: &B,
    heads: Heads,
    rows: &RowLayout,
    inputs: [&[f32]; 3],
) -> (Vec<f32>, Vec<f32>) {
    let [q, k, v] = inputs.map(|values| up(backend, values));
    let (mut out, mut lse) = (B::Buffer::default(), B::Buffer::default());
    backend.attend(&backend.plan(rows.clone()), heads, [&q, &k, &v], &mut out, &mut lse);
    (down(backend, &out), down(backend, &lse))
}

fn packed<B: Backend>(backend: &B, heads: Heads, rows: &RowLayout) {
    let what = format!("attend, {heads:?}, {} spans", rows.spans.len());
    let count = rows.positions.len();
    let [q, k, v] = inputs(count, heads);
    let (out, lse) = attend(backend, heads, rows, [&q, &k, &v]);
    let (want, want_lse) = attend(&REFERENCE, heads, rows, [&q, &k, &v]);
    close(&what, &out, &want, 2e-5);
    close(&format!("{what}: log-sum-exp"), &lse, &want_lse, 2e-5);

    // the mask: what comes later, and other sequences, do not reach a row, whatever they hold
    for (index, span) in rows.spans.iter().enumerate() {
        let row = span.rows.start + span.rows.len() / 2;
        let (mut k, mut v) = (k.clone(), v.clone());
        for other in 0..count {
            let seen = span.rows.start <= other && other <= row || rows.prefix_rows(index).contains(&other);
            if !seen {
                let at = other * heads.kv_width()..(other + 1) * heads.kv_width();
                k[at.clone()].fill(f32::NAN);
                v[at].fill(f32::INFINITY);
            }
        }
        let (masked, _) = attend(backend, heads, rows, [&q, &k, &v]);
        let width = heads.q_width();
        same_bits(
            &format!("{what}: row {row} beside others"),
            part(&masked, row..row + 1, width),
            part(&out, row..row + 1, width),
        );
    }
    backward_alone(backend, heads, rows, [&q, &k, &v], (&out, &lse));
}

/// The gradients of a group of sequences do not depend on the other groups.
fn backward_alone<B: Backend>(
    backend: &B,
    heads: Heads,
    rows: &RowLayout,
    [q, k, v]: [&[f32]; 3],
    (out, lse): (&[f32], &[f32]),
) {
    let d_out = numbers(out.len(), 4);
    let backward = |rows: &RowLayout, [q, k, v]: [&[f32]; 3], [out, lse, d_out]: [&[f32]; 3]| {
        let [q, k, v] = [q, k, v].map(|values| up(backend, values));
        let [out, lse, d_out] = [out, lse, d_out].map(|values| up(backend, values));
        let attended = Attended { q: &q, k: &k, v: &v, out: &out, lse: &lse };
        let mut d = [B::Buffer::default(), B::Buffer::default(), B::Buffer::default()];
        backend.attend_backward(&backend.plan(rows.clone()), heads, &attended, &d_out, d.each_mut());
        d.map(|d| down(backend, &d))
    };
    let whole = backward(rows, [q, k, v], [out, lse, &d_out]);
    let what = format!("attend_backward, {heads:?}, {} spans", rows.spans.len());
    {
        let attended = Attended {
            q: &q.to_vec(),
            k: &k.to_vec(),
            v: &v.to_vec(),
            out: &out.to_vec(),
            lse: &lse.to_vec(),
        };
        let mut want = [Vec::new(), Vec::new(), Vec::new()];
        REFERENCE.attend_backward(rows, heads, &attended, &d_out, want.each_mut());
        for ((name, got), want) in ["queries", "keys", "values"].iter().zip(&whole).zip(&want) {
            close(&format!("{what}: by {name}"), got, want, 1e-4);
        }
    }
    // the last group alone: the spans from the last one without a prefix on
    let Some(first) = rows.spans.iter().rposition(|span| span.prefix.is_none()).filter(|&first| first > 0)
    else {
        return;
    };
    let lengths: Vec<_> = rows.spans[first..]
        .iter()
        .map(|span| (span.rows.len(), span.prefix.map(|prefix| prefix - first)))
        .collect();
    let at = rows.spans[first].rows.start..rows.positions.len();
    let (q_width, kv_width) = (heads.q_width(), heads.kv_width());
    let own = [part(q, at.clone(), q_width), part(k, at.clone(), kv_width), part(v, at.clone(), kv_width)];
    let of_rows = [
        part(out, at.clone(), q_width),
        part(lse, at.clone(), heads.query),
        part(&d_out, at.clone(), q_width),
    ];
    let alone = backward(&layout(&lengths), own, of_rows);
    for ((got, whole), width) in alone.iter().zip(&whole).zip([q_width, kv_width, kv_width]) {
        same_bits(&format!("{what}: last group alone"), got, part(whole, at.clone(), width));
    }
}

/// Pushes rows to one sequence and attends for them. `[R, H d]`
fn push_and_attend<B: Backend>(
    backend: &B,
    heads: Heads,
    seq: &mut B::KvSeq,
    [q, k, v]: [&[f32]; 3],
) -> Vec<f32> {
    let rows = q.len() / heads.q_width();
    let plan = backend.plan(layout(&[(rows, None)]));
    let [q, k, v] = [q, k, v].map(|values| up(backend, values));
    let (mut out, mut seqs) = (B::Buffer::default(), [seq]);
    backend.kv_push(&plan, 0, &k, &v, &mut seqs);
    backend.attend_cached(&plan, 0, heads, &q, &seqs, &mut out);
    down(backend, &out)
}

fn rows_of([q, k, v]: [&[f32]; 3], at: std::ops::Range<usize>, heads: Heads) -> [&[f32]; 3] {
    [
        part(q, at.clone(), heads.q_width()),
        part(k, at.clone(), heads.kv_width()),
        part(v, at, heads.kv_width()),
    ]
}

/// Attention over a cached sequence gives the bits of packed attention, however the rows are pushed.
fn cached<B: Backend>(backend: &B, heads: Heads) {
    let count = 43;
    let [q, k, v] = inputs(count, heads);
    let all = [q.as_slice(), &k, &v];
    let (want, _) = attend(backend, heads, &layout(&[(count, None)]), all);
    for cuts in [vec![0, count], vec![0, 1, 2, 18, count], (0..=count).collect()] {
        let mut seq = backend.kv(1, heads.kv_width());
        let mut out = Vec::new();
        for at in cuts.windows(2).map(|pair| pair[0]..pair[1]) {
            out.extend(push_and_attend(backend, heads, &mut seq, rows_of(all, at.clone(), heads)));
            assert_eq!(backend.kv_len(&seq), at.end, "positions of a sequence");
        }
        same_bits(&format!("attend_cached, {heads:?}, {} pushes", cuts.len() - 1), &out, &want);
    }
    // two sequences side by side give what each gives alone
    let (first, second) = (rows_of(all, 0..20, heads), rows_of(all, 20..count, heads));
    let (mut a, mut b) = (backend.kv(1, heads.kv_width()), backend.kv(1, heads.kv_width()));
    let alone =
        [push_and_attend(backend, heads, &mut a, first), push_and_attend(backend, heads, &mut b, second)];
    let plan = backend.plan(layout(&[(20, None), (count - 20, None)]));
    let [q, k, v] = all.map(|values| up(backend, values));
    let (mut a, mut b) = (backend.kv(1, heads.kv_width()), backend.kv(1, heads.kv_width()));
    let (mut out, mut seqs) = (B::Buffer::default(), [&mut a, &mut b]);
    backend.kv_push(&plan, 0, &k, &v, &mut seqs);
    backend.attend_cached(&plan, 0, heads, &q, &seqs, &mut out);
    same_bits("attend_cached: two sequences", &down(backend, &out), &alone.concat());
}

/// A fork goes on from any position, and neither sees what the other pushes.
fn forks<B: Backend>(backend: &B, heads: Heads) {
    let count = 60;
    let [q, k, v] = inputs(count, heads);
    let all = [q.as_slice(), &k, &v];
    let alone = |lists: &[std::ops::Range<usize>]| {
        let mut seq = backend.kv(1, heads.kv_width());
        let mut last = Vec::new();
        for at in lists {
            last = push_and_attend(backend, heads, &mut seq, rows_of(all, at.clone(), heads));
        }
        last
    };
    let mut trunk = backend.kv(1, heads.kv_width());
    push_and_attend(backend, heads, &mut trunk, rows_of(all, 0..30, heads));
    for len in [0, 1, 16, 17, 30] {
        let mut fork = backend.kv_fork(&trunk, len);
        assert_eq!(backend.kv_len(&fork), len, "positions of a fork");
        let got = push_and_attend(backend, heads, &mut fork, rows_of(all, 40..47, heads));
        same_bits(&format!("fork at {len}, {heads:?}"), &got, &alone(&[0..len, 40..47]));
    }
    let got = push_and_attend(backend, heads, &mut trunk, rows_of(all, 30..33, heads));
    same_bits("a sequence that was forked", &got, &alone(&[0..30, 30..33]));
    // a chain of forks, each with a few positions of its own
    let (mut chain, mut lists) = (backend.kv(1, heads.kv_width()), Vec::new());
    for from in (0..48).step_by(6) {
        lists.push(from..from + 6);
        let got = push_and_attend(backend, heads, &mut chain, rows_of(all, from..from + 6, heads));
        same_bits(&format!("chain of {} forks", lists.len()), &got, &alone(&lists));
        let held = backend.kv_fork(&chain, backend.kv_len(&chain));
        chain = backend.kv_fork(&held, backend.kv_len(&held));
    }
}
