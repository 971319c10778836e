//! The trait that every device implements.

use std::ops::Range;

use crate::{
    AdamWStep, Attended, ComputeError, Draw, Facts, HeadStage, Heads, Likeliest, MatrixShape, OperandUse,
    Part, Precision, RowLayout, ScoreGradient, Scores,
};

/// A handle to a device. Operations are as large as a good fused kernel; buffers, weights, operands and key/value
/// sequences are the device's own types, so that it chooses their precision and layout. See the crate for the contract.
///
/// An output is resized to what the operation gives, unless its documentation says "added to" or "in place".
pub trait Backend: Clone + Send + Sync + 'static {
    /// f32 values on the device.
    type Buffer: Default + Send + Sync;
    /// A weight laid out for y = x W^T, and for looking up its rows.
    type Matrix: Default + Send + Sync;
    /// The same weight laid out for dx = dy W.
    type Transposed: Default + Send + Sync;
    /// Rows laid out as an operand of products.
    type Operand: Default + Send + Sync;
    /// Index tables of one forward pass.
    type Plan: Send + Sync;
    /// Keys and values of one sequence in every layer.
    type KvSeq: Send + Sync;

    /// Facts of the device.
    fn facts(&self) -> Facts;

    /// Handles to decode `rows` rows of a model of `weight_bytes`: several where each better decodes rows of its own,
    /// each to be used by a thread of its own; else one. Never none.
    fn decoders(&self, rows: usize, weight_bytes: u64) -> Vec<Self>;

    // ---- memory

    /// Number of values.
    fn len(&self, buffer: &Self::Buffer) -> usize;
    /// A buffer that holds `values`.
    ///
    /// # Errors
    /// No memory.
    fn upload(&self, values: Vec<f32>) -> Result<Self::Buffer, ComputeError>;
    /// Copies a part of `from` to the host.
    ///
    /// # Errors
    /// A fault of this or of an earlier operation.
    fn download(&self, from: &Self::Buffer, at: Range<usize>, to: &mut [f32]) -> Result<(), ComputeError>;
    /// Makes `to` hold `len` zeros.
    fn zeros(&self, len: usize, to: &mut Self::Buffer);
    /// Makes `to` hold a part of `from`.
    fn copy(&self, from: &Self::Buffer, at: Range<usize>, to: &mut Self::Buffer);
    /// Adds all of `x` to a part.
    fn add(&self, x: &Self::Buffer, to: Part<Self::Buffer>);
    /// Rows `rows` of `x`, in that order. `[T, width] -> [R, width]`
    fn gather(&self, x: &Self::Buffer, width: usize, rows: &[usize], out: &mut Self::Buffer);
    /// Adds row r of `d_rows` to row `rows[r]` of `dx`, in the order of r. `[R, width]`, `[T, width]`
    fn scatter_add(&self, d_rows: &Self::Buffer, width: usize, rows: &[usize], dx: &mut Self::Buffer);

    // ---- weights

    /// Lays out rows `rows` of a weight that comes from the host, `[R, K]` of `[N, K]`. Rows come in ascending order,
    /// each once; a call that begins with row 0 begins another weight, and every call begins at a multiple of
    /// [`LOAD_ROWS`](crate::types::LOAD_ROWS). The weight may be used once its last row has come.
    ///
    /// # Errors
    /// No memory.
    fn load_matrix(
        &self,
        values: &[f32],
        rows: Range<usize>,
        shape: MatrixShape,
        to: &mut Self::Matrix,
    ) -> Result<(), ComputeError>;
    /// Lays out a weight that is a part of `params`, `[N, K]`.
    fn cast_matrix(&self, params: &Self::Buffer, at: Range<usize>, shape: MatrixShape, to: &mut Self::Matrix);
    /// Lays out the same for the backward pass.
    fn cast_transposed(
        &self,
        params: &Self::Buffer,
        at: Range<usize>,
        shape: MatrixShape,
        to: &mut Self::Transposed,
    );
    /// Bytes that a weight takes.
    fn matrix_bytes(&self, matrix: &Self::Matrix) -> u64;

    // ---- forward

    /// The index tables of a forward pass.
    fn plan(&self, rows: RowLayout) -> Self::Plan;
    /// Rows of the embedding, `[V, D]`. `[T] -> [T, D]`
    fn embed(&self, table: &Self::Matrix, tokens: &[u32], out: &mut Self::Buffer);
    /// Rows `rows` of `x`, `[T, width]`, as an operand.
    fn operand(
        &self,
        x: &Self::Buffer,
        rows: Range<usize>,
        width: usize,
        layout: (Precision, OperandUse),
        out: &mut Self::Operand,
    );
    /// RMSNorm of rows as wide as `weight`, as an operand: y = x / sqrt(mean(x^2) + eps) * w.
    fn rms_norm(
        &self,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        eps: f32,
        layout: (Precision, OperandUse),
        out: &mut Self::Operand,
    );
    /// SwiGLU as an operand: y = gate sigmoid(gate) up. `[T, F]`
    fn gate(
        &self,
        gate: &Self::Buffer,
        up: &Self::Buffer,
        width: usize,
        layout: (Precision, OperandUse),
        out: &mut Self::Operand,
    );
    /// y = x W^T, or y += x W^T, for each weight. `[T, K] -> [T, N]` each
    fn linear<const P: usize>(
        &self,
        input: &Self::Operand,
        outputs: [(&Self::Matrix, &mut Self::Buffer); P],
        accumulate: bool,
    );
    /// Bias, head norm and rope, in place; `raw` gets the rows between bias and norm. `[T, heads * d]`
    fn heads(
        &self,
        plan: &Self::Plan,
        stage: &HeadStage<Self::Buffer>,
        raw: Option<&mut Self::Buffer>,
        x: &mut Self::Buffer,
    );
    /// Attention of the rows of each span over that span, as far as their own positions, and over the span that it
    /// continues.
    ///
    /// # Shapes
    /// `q`, `out`: `[T, H d]`; `k`, `v`: `[T, K d]`; `lse`: `[T, H]`.
    fn attend(
        &self,
        plan: &Self::Plan,
        heads: Heads,
        inputs: [&Self::Buffer; 3],
        out: &mut Self::Buffer,
        lse: &mut Self::Buffer,
    );
    /// Attention of the rows of each span over its sequence, as far as their own positions; the rows' keys and values
    /// have been pushed. `seqs`: one for each span.
    fn attend_cached(
        &self,
        plan: &Self::Plan,
        layer: usize,
        heads: Heads,
        q: &Self::Buffer,
        seqs: &[&mut Self::KvSeq],
        out: &mut Self::Buffer,
    );

    // ---- keys and values

    /// An empty sequence of a model with `layers` layers and keys as wide as `kv_width`, K d.
    fn kv(&self, layers: usize, kv_width: usize) -> Self::KvSeq;
    /// Positions held in the first layer.
    fn kv_len(&self, seq: &Self::KvSeq) -> usize;
    /// A sequence that begins with the first `len` positions of another; neither sees what is pushed to the other.
    ///
    /// # Panics
    /// If `len` exceeds the sequence.
    fn kv_fork(&self, seq: &Self::KvSeq, len: usize) -> Self::KvSeq;
    /// Appends each span's rows of keys and values to its sequence. `[T, K d]`
    fn kv_push(
        &self,
        plan: &Self::Plan,
        layer: usize,
        k: &Self::Buffer,
        v: &Self::Buffer,
        seqs: &mut [&mut Self::KvSeq],
    );

    // ---- logits

    /// Log-prob of each row's target, and its entropy; `lse` gets the log-sum-exp of each row at `first_row` and on.
    ///
    /// # Errors
    /// A fault of this or of an earlier operation.
    fn score(
        &self,
        logits: &Self::Buffer,
        targets: &[u32],
        temperature: f32,
        lse: (&mut Self::Buffer, usize),
    ) -> Result<Scores, ComputeError>;
    /// A token of each row and its log-prob under softmax(logits / temperature), untruncated (temperature 1 where it is
    /// 0); none for a row whose logits are not finite. Row r is a function of logits row r and `draws[r]`.
    ///
    /// # Errors
    /// A fault of this or of an earlier operation.
    fn sample(&self, logits: &Self::Buffer, draws: &[Draw]) -> Result<Vec<Option<(u32, f32)>>, ComputeError>;
    /// For each (row, token, count): the token's log-prob under softmax(row) and the `count` likeliest.
    ///
    /// # Errors
    /// A fault of this or of an earlier operation.
    fn likeliest(
        &self,
        logits: &Self::Buffer,
        vocab: usize,
        wanted: &[(usize, u32, usize)],
    ) -> Result<Vec<Likeliest>, ComputeError>;

    // ---- backward

    /// Turns some rows of logits into d loss / d logits, in place: d (onehot(target) - softmax) / temperature, for
    /// d = d loss / d log-prob.
    fn score_backward(&self, logits: &mut Self::Buffer, lse: &Self::Buffer, gradient: &ScoreGradient);
    /// dx = dy W, or dx += dy W. `[T, N] -> [T, K]`
    fn linear_backward_input(
        &self,
        dy: &Self::Operand,
        weight: &Self::Transposed,
        dx: &mut Self::Buffer,
        accumulate: bool,
    );
    /// dW += dy^T x. `[N, K]`
    fn linear_backward_weight(&self, dy: &Self::Operand, input: &Self::Operand, d_weight: Part<Self::Buffer>);
    /// Backward of the norm: `dx` and `d_weight` are added to.
    fn rms_norm_backward(
        &self,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        eps: f32,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
        d_weight: Part<Self::Buffer>,
    );
    /// Backward of [`heads`](Self::heads): `d` becomes the derivative by the projection, in place; the gradients of
    /// bias and norm, parts of `grads`, are added to. `raw` is what the forward pass left.
    fn heads_backward(
        &self,
        plan: &Self::Plan,
        stage: &HeadStage<Self::Buffer>,
        raw: &Self::Buffer,
        d: &mut Self::Buffer,
        grads: (&mut Self::Buffer, Option<Range<usize>>, Option<Range<usize>>),
    );
    /// Backward of [`attend`](Self::attend): derivatives by queries, keys and values.
    fn attend_backward(
        &self,
        plan: &Self::Plan,
        heads: Heads,
        attended: &Attended<Self::Buffer>,
        d_out: &Self::Buffer,
        d_inputs: [&mut Self::Buffer; 3],
    );
    /// Backward of [`gate`](Self::gate): `gate` and `up` become their derivatives, in place.
    fn gate_backward(&self, gate: &mut Self::Buffer, up: &mut Self::Buffer, d_out: &Self::Buffer);
    /// Backward of [`embed`](Self::embed): adds each row to its token's gradient, in row order. `[V, D]`
    fn embed_backward(&self, tokens: &[u32], dx: &Self::Buffer, d_table: Part<Self::Buffer>);

    // ---- optimizer

    /// Sum of squares, in f64.
    ///
    /// # Errors
    /// A fault of this or of an earlier operation.
    fn sum_squares(&self, x: &Self::Buffer) -> Result<f64, ComputeError>;
    /// AdamW (Loshchilov and Hutter, 2019) of one part of the parameters; its gradients are cleared.
    /// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w = w (1 - lr decay) - lr m_hat / (sqrt(v_hat) + eps).
    ///
    /// `state`: parameters, gradients, first and second moments.
    fn adamw(&self, state: [&mut Self::Buffer; 4], at: Range<usize>, step: &AdamWStep);
}
