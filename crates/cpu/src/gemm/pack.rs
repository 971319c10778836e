//! Operands laid out for the tiles, in 32-bit words: one f32, or two bf16 that are neighbours along k.
//!
//! A word of bf16 holds the even k in its high half and the odd k in its low half: the order in which the
//! hardware's dot product adds them, so that the sum is a chain over ascending k.

use std::ops::Range;

use super::view::{PANEL, View};
use crate::isa::multiversion;
use crate::{Precision, Threads};
use thinktune_compute::precision::pair;

/// A cache line of words: keeps vector loads from straddling lines.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; LINE]);

/// Words of a line.
pub(super) const LINE: usize = 16;

/// Rows that lie side by side where the left operand is packed from its transpose.
pub(super) const GROUP: usize = 12;

/// An f32 left operand narrower than this is used where it lies; the rows of a wider one are moved apart.
const IN_PLACE: usize = 640;

/// Rows packed by one task.
const PACK_ROWS: usize = 32;

/// Groups packed together.
const GROUPS: usize = 4;

/// Elements from which packing is cut among threads.
const PARALLEL_FROM: usize = 1 << 16;

/// The threads to pack `elements` with.
fn worth_it(threads: Threads<'_>, elements: usize) -> Threads<'_> {
    if elements < PARALLEL_FROM { Threads::One } else { threads }
}

/// The lines as words.
pub(super) fn words(lines: &[Line]) -> &[u32] {
    // SAFETY: a line is 16 words without padding, and lines lie back to back.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
}

/// The lines as words.
fn words_mut(lines: &mut [Line]) -> &mut [u32] {
    // SAFETY: as above; the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
}

/// Makes room for `count` words, kept from call to call; what they hold is left over from before.
fn reserve(lines: &mut Vec<Line>, count: usize) -> &mut [u32] {
    let wanted = count.div_ceil(LINE);
    if lines.len() < wanted {
        // nothing of the old content is needed: do not move it
        lines.clear();
        lines.resize(wanted, Line::default());
    }
    &mut words_mut(lines)[..count]
}

/// A right operand `[K, N]` packed into panels of [`PANEL`] columns, zero-padded on the right and, in bf16, to
/// an even K.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    precision: Precision,
    k: usize,
    n: usize,
    panels: Vec<Line>,
}

impl Packed {
    /// Packs `b`, `[K, N]`.
    pub fn new(b: View, precision: Precision) -> Self {
        let mut packed = Self::default();
        packed.fill(b, precision, Threads::All);
        packed
    }

    /// Packs another matrix into the same memory.
    pub fn fill(&mut self, b: View, precision: Precision, threads: Threads) {
        self.fill_columns(b, 0, b.cols, precision, threads);
    }

    /// Packs `b`, the columns from `first` on, a multiple of [`PANEL`], of a matrix of `n` columns. Columns before them
    /// stay where `first` is not 0.
    pub fn fill_columns(&mut self, b: View, first: usize, n: usize, precision: Precision, threads: Threads) {
        debug_assert!(first.is_multiple_of(PANEL) && first + b.cols <= n);
        (self.precision, self.k, self.n) = (precision, b.rows, n);
        let steps = precision.steps(b.rows);
        let panels = reserve(&mut self.panels, n.div_ceil(PANEL) * steps * PANEL);
        if steps == 0 {
            return;
        }
        let panels = &mut panels[first / PANEL * steps * PANEL..][..b.cols.div_ceil(PANEL) * steps * PANEL];
        let pack = |panel: usize, out: &mut [u32]| {
            let columns = panel * PANEL..b.cols.min((panel + 1) * PANEL);
            pack_panel(b, columns, precision == Precision::Bf16, out);
        };
        worth_it(threads, b.rows * b.cols).chunks_mut(panels, steps * PANEL, pack);
    }

    /// K.
    pub fn k(&self) -> usize {
        self.k
    }

    /// N.
    pub fn n(&self) -> usize {
        self.n
    }

    /// What its elements are.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }

    /// The words of all panels: `[ceil(N / 32), steps, 32]`.
    pub(super) fn words(&self) -> &[u32] {
        words(&self.panels)
    }

    /// Column `n`, in f32. `[K]`
    pub fn column(&self, n: usize, out: &mut [f32]) {
        let steps = self.precision.steps(self.k);
        let panel = &self.words()[n / PANEL * steps * PANEL..][..steps * PANEL];
        let column = panel.iter().skip(n % PANEL).step_by(PANEL);
        match self.precision {
            Precision::F32 => {
                for (slot, word) in out.iter_mut().zip(column) {
                    *slot = f32::from_bits(*word);
                }
            }
            Precision::Bf16 => {
                for (slots, word) in out.chunks_mut(2).zip(column) {
                    let halves = [word & 0xffff_0000, word << 16];
                    for (slot, half) in slots.iter_mut().zip(halves) {
                        *slot = f32::from_bits(half);
                    }
                }
            }
        }
    }
}

/// Packs columns `columns` of `b`; `out`: `[steps, PANEL]`.
fn pack_panel(b: View, columns: Range<usize>, bf16: bool, out: &mut [u32]) {
    let width = columns.len();
    if width < PANEL {
        out.fill(0);
    }
    if b.col_stride == 1 {
        pack_rows(&b.data[columns.start..], b.row_stride, b.rows, width, bf16, out);
    } else {
        pack_columns(&b.data[columns.start * b.col_stride..], b.col_stride, b.rows, width, bf16, out);
    }
}

multiversion! {
    /// A panel of a matrix whose rows are contiguous: columns `0..width` of `data`, `[k, stride]`.
    pub fn pack_rows(data: &[f32], stride: usize, k: usize, width: usize, bf16: bool, out: &mut [u32]) {
        let (out, _) = out.as_chunks_mut::<PANEL>();
        let row = |k: usize| &data[k * stride..][..width];
        for (step, out) in out.iter_mut().enumerate() {
            if !bf16 {
                copy_bits(row(step), &mut out[..width]);
            } else if 2 * step + 1 == k {
                pair_rows(row(2 * step), &[0.0; PANEL], &mut out[..width]);
            } else if let (Some(even), Some(odd)) = (row(2 * step).first_chunk(), row(2 * step + 1).first_chunk())
            {
                let (even, odd): (&[f32; PANEL], &[f32; PANEL]) = (even, odd);
                pair_rows(even, odd, out);
            } else {
                pair_rows(row(2 * step), row(2 * step + 1), &mut out[..width]);
            }
        }
    }
}

multiversion! {
    /// A panel of a matrix whose columns are contiguous: rows `0..width` of `data`, `[width, stride]`. Each column is
    /// brought to words, 16 steps at a time so that what is written stays in the nearest cache.
    pub fn pack_columns(data: &[f32], stride: usize, k: usize, width: usize, bf16: bool, out: &mut [u32]) {
        let per_step = if bf16 { 2 } else { 1 };
        for (block, out) in out.chunks_mut(LINE * PANEL).enumerate() {
            let steps = out.len() / PANEL;
            let from = block * LINE * per_step;
            let count = (steps * per_step).min(k - from);
            for column in 0..width {
                let values = &data[column * stride + from..][..count];
                let mut run = [0u32; LINE];
                if let (true, Some(values)) = (bf16, values.first_chunk::<{ 2 * LINE }>()) {
                    pair_along(values, &mut run);
                } else if bf16 {
                    pair_along(values, &mut run);
                } else {
                    copy_bits(values, &mut run);
                }
                for (step, out) in out.chunks_exact_mut(PANEL).enumerate() {
                    out[column] = run[step];
                }
            }
        }
    }
}

#[inline(always)]
fn copy_bits(values: &[f32], out: &mut [u32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = value.to_bits();
    }
}

/// Words of two rows that are neighbours along k.
#[inline(always)]
fn pair_rows(even: &[f32], odd: &[f32], out: &mut [u32]) {
    for ((out, even), odd) in out.iter_mut().zip(even).zip(odd) {
        *out = pair(*even, *odd);
    }
}

/// Words of one row along k, zero-padded to an even length.
#[inline(always)]
fn pair_along(values: &[f32], out: &mut [u32]) {
    let (pairs, last) = values.as_chunks::<2>();
    for (out, values) in out.iter_mut().zip(pairs) {
        *out = pair(values[0], values[1]);
    }
    if let ([value], Some(out)) = (last, out.get_mut(pairs.len())) {
        *out = pair(*value, 0.0);
    }
}

multiversion! {
    /// Rows along k as words, `row_stride` words apart.
    pub fn pack_row_major(data: &[f32], stride: usize, k: usize, bf16: bool, row_stride: usize, out: &mut [u32]) {
        for (values, out) in data.chunks(stride).zip(out.chunks_mut(row_stride)) {
            if bf16 {
                pair_along(&values[..k], out);
            } else {
                copy_bits(&values[..k], out);
            }
        }
    }
}

multiversion! {
    /// Groups of rows of a matrix whose columns are contiguous: rows `0..rows` of `data`, `[k, stride]`; `out`:
    /// `[groups, steps, GROUP]`. All groups advance together, since they share the lines that are read.
    pub fn pack_groups(data: &[f32], stride: usize, k: usize, rows: usize, bf16: bool, out: &mut [u32]) {
        let steps = if bf16 { k.div_ceil(2) } else { k };
        let nothing = [0.0; GROUPS * GROUP];
        for step in 0..steps {
            let column = |k: usize| &data[k * stride..][..rows];
            let (even, odd) = match (bf16, 2 * step + 1 < k) {
                (false, _) => (column(step), &nothing[..rows]),
                (true, false) => (column(2 * step), &nothing[..rows]),
                (true, true) => (column(2 * step), column(2 * step + 1)),
            };
            for (group, (even, odd)) in even.chunks(GROUP).zip(odd.chunks(GROUP)).enumerate() {
                let out = &mut out[(group * steps + step) * GROUP..][..GROUP];
                match (bf16, even.first_chunk::<GROUP>(), odd.first_chunk::<GROUP>()) {
                    (true, Some(even), Some(odd)) => pair_rows(even, odd, out),
                    (true, ..) => pair_rows(even, odd, out),
                    (false, Some(even), _) => copy_bits(even, out),
                    (false, ..) => copy_bits(even, out),
                }
            }
        }
    }
}

/// Memory for a packed left operand, kept from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    lines: Vec<Line>,
}

/// A left operand `[M, K]`, ready for the tiles.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub(super) words: &'a [u32],
    pub(super) precision: Precision,
    pub(super) m: usize,
    pub(super) k: usize,
    /// Words from a row to the next of its group, and from one step of k to the next.
    pub(super) row_stride: usize,
    pub(super) step_stride: usize,
    /// Rows of a group, and words from group to group.
    pub(super) group: usize,
    pub(super) group_stride: usize,
}

impl Rows<'_> {
    /// M.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Index of the word of (row, step).
    #[inline(always)]
    pub(super) fn at(&self, row: usize, step: usize) -> usize {
        row / self.group * self.group_stride + row % self.group * self.row_stride + step * self.step_stride
    }
}

/// How a left operand lies: where it was, or in a [`Scratch`].
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    in_place: bool,
    precision: Precision,
    m: usize,
    k: usize,
    row_stride: usize,
    step_stride: usize,
    group: usize,
    group_stride: usize,
}

impl Placed {
    /// Whether the operand is read where it was.
    pub fn in_place(&self) -> bool {
        self.in_place
    }
}

impl Scratch {
    /// Lays out `a`. A narrow f32 matrix with contiguous rows is used where it is; all else is copied here.
    pub fn rows<'a>(&'a mut self, a: View<'a>, precision: Precision, threads: Threads) -> Rows<'a> {
        let placed = self.place(a, precision, threads);
        self.placed(a.data, placed)
    }

    /// The operand laid out last; `data` are the values it was laid out from, read where it is in place.
    pub fn placed<'a>(&'a self, data: &'a [f32], placed: Placed) -> Rows<'a> {
        let Placed { in_place, precision, m, k, row_stride, step_stride, group, group_stride } = placed;
        let words = if in_place { bits(data) } else { words(&self.lines) };
        Rows { words, precision, m, k, row_stride, step_stride, group, group_stride }
    }

    /// Whether [`place`](Self::place) would leave `[m, k]` rows where they are.
    fn stays(m: usize, k: usize, precision: Precision) -> bool {
        precision == Precision::F32 && (k < IN_PLACE || m < GROUP)
    }

    /// Lays out `a` for [`placed`](Self::placed).
    pub fn place(&mut self, a: View<'_>, precision: Precision, threads: Threads) -> Placed {
        let (m, k) = (a.rows, a.cols);
        if a.col_stride != 1 {
            return self.transposed(a, precision, threads);
        }
        let rows = |in_place, row_stride| Placed {
            in_place,
            precision,
            m,
            k,
            row_stride,
            step_stride: 1,
            group: 1,
            group_stride: row_stride,
        };
        if Self::stays(m, k, precision) {
            return rows(true, a.row_stride);
        }
        // an odd number of lines: the rows of a tile then fall into different sets of the cache
        let row_stride = (precision.steps(k).div_ceil(LINE) | 1) * LINE;
        let words = reserve(&mut self.lines, m * row_stride);
        let bf16 = precision == Precision::Bf16;
        // the stride of a single row, or of empty ones, says nothing
        let stride = a.row_stride.max(k).max(1);
        worth_it(threads, m * k).chunks_mut(words, PACK_ROWS * row_stride, |index, out| {
            pack_row_major(&a.data[index * PACK_ROWS * stride..], stride, k, bf16, row_stride, out);
        });
        rows(false, row_stride)
    }

    /// A matrix whose columns are contiguous: groups of [`GROUP`] rows, `[ceil(M / 12), steps, 12]`.
    fn transposed(&mut self, a: View<'_>, precision: Precision, threads: Threads) -> Placed {
        assert_eq!(a.row_stride, 1, "a view is of rows or of columns");
        let (m, k) = (a.rows, a.cols);
        let group_stride = precision.steps(k) * GROUP;
        let words = reserve(&mut self.lines, m.div_ceil(GROUP) * group_stride);
        let bf16 = precision == Precision::Bf16;
        let pack = |index: usize, out: &mut [u32]| {
            let first = index * GROUPS * GROUP;
            pack_groups(&a.data[first..], a.col_stride, k, (GROUPS * GROUP).min(m - first), bf16, out);
        };
        if group_stride > 0 {
            worth_it(threads, m * k).chunks_mut(words, GROUPS * group_stride, pack);
        }
        Placed {
            in_place: false,
            precision,
            m,
            k,
            row_stride: 1,
            step_stride: GROUP,
            group: GROUP,
            group_stride,
        }
    }
}

/// The bits of floats.
fn bits(values: &[f32]) -> &[u32] {
    // SAFETY: f32 and u32 have one size and alignment, and every f32 is some u32.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}
