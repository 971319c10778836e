//! Supervised fine-tuning: the mean negative log-likelihood of the learnt tokens of a batch, one update a
//! batch, a fresh permutation of the sequences every epoch. Which sequences an update sees follows from its
//! number, so a resumed run goes on exactly.

pub mod examples;

use thinktune_policy::{Policy, TokenBatch, Train};
use thinktune_runlog::event::SftMetrics;
use thinktune_runlog::{Phase, PhaseTokens};

use crate::act::questions::permutation;
use crate::error::MethodError;
use crate::progress::Progress;
use crate::run::{Run, Schedule, StepLog};
use crate::settings::{Checked, SftSettings};
use crate::train::batch::{GroupLengths, micro_batches};
use crate::train::schedule::learning_rate;
use examples::Sequence;

/// A run of supervised fine-tuning.
pub struct SftRun<'a> {
    student: &'a mut dyn Policy,
    plan: SftPlan,
    settings: &'a Checked<SftSettings>,
}

impl<'a> SftRun<'a> {
    /// A run at its beginning.
    pub fn new(student: &'a mut dyn Policy, plan: SftPlan, settings: &'a Checked<SftSettings>) -> Self {
        Self { student, plan, settings }
    }
}

impl Run for SftRun<'_> {
    type Metrics = SftMetrics;
    type State = ();

    fn schedule(&self) -> Schedule {
        let checkpoint_every = self.settings.checkpoint_every;
        Schedule { steps: self.plan.steps(), checkpoint_every, eval_every: None }
    }

    fn student(&self) -> &dyn Policy {
        &*self.student
    }

    fn student_mut(&mut self) -> &mut dyn Policy {
        &mut *self.student
    }

    fn state(&self) -> &() {
        &()
    }

    fn restore(&mut self, (): ()) {}

    fn step(&mut self, number: u32, progress: &mut dyn Progress) -> Result<StepLog<SftMetrics>, MethodError> {
        progress.phase(number, Phase::Train);
        let metrics = update(&mut *self.student, &self.plan, number, self.settings)?;
        let tokens = PhaseTokens { train: metrics.batch_tokens, ..PhaseTokens::default() };
        Ok(StepLog { metrics, rollouts: None, tokens })
    }

    fn summary(metrics: &SftMetrics) -> String {
        let SftMetrics { loss, grad_norm, lr, .. } = *metrics;
        format!("loss {loss:.4}  grad norm {grad_norm:.3}  lr {lr:.2e}")
    }
}

/// Sequences that each update sees.
#[derive(Debug, Clone)]
pub struct SftPlan {
    sequences: Vec<Sequence>,
    seed: u64,
    batch_size: usize,
    epochs: u32,
}

impl SftPlan {
    /// Drops what is too long or has nothing to learn, with a notice.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn new(
        mut sequences: Vec<Sequence>,
        settings: &SftSettings,
        progress: &mut dyn Progress,
    ) -> Result<Self, MethodError> {
        let before = sequences.len();
        let limit = settings.examples.max_tokens;
        sequences.retain(|sequence| sequence.tokens.len() <= limit && sequence.targets() > 0);
        let dropped = before - sequences.len();
        if sequences.is_empty() {
            return Err(MethodError::BadData(format!(
                "none of the {before} sequences can be trained on; \
                 expected at least 2 and at most sft.max_tokens = {limit} tokens"
            )));
        }
        if dropped > 0 {
            progress.notice(&format!(
                "{dropped} of {before} sequences have more than sft.max_tokens = {limit} tokens and are left out"
            ));
        }
        Ok(Self {
            sequences,
            seed: settings.seed,
            batch_size: settings.examples.batch_size,
            epochs: settings.examples.epochs,
        })
    }

    /// Updates of the whole run.
    pub fn steps(&self) -> u32 {
        self.epochs * self.steps_per_epoch()
    }

    /// Updates of one epoch; the last may be smaller than the others.
    fn steps_per_epoch(&self) -> u32 {
        self.sequences.len().div_ceil(self.batch_size) as u32
    }

    /// Indices of the sequences of update `step` (from 1).
    fn batch(&self, step: u32) -> Vec<usize> {
        let (epoch, place) = ((step - 1) / self.steps_per_epoch(), (step - 1) % self.steps_per_epoch());
        let order = permutation(self.seed, epoch, self.sequences.len());
        let start = place as usize * self.batch_size;
        order[start..(start + self.batch_size).min(order.len())].to_vec()
    }
}

/// One optimizer update.
fn update(
    student: &mut (impl Train + ?Sized),
    plan: &SftPlan,
    step: u32,
    settings: &SftSettings,
) -> Result<SftMetrics, MethodError> {
    let batch = plan.batch(step);
    let sequence = |row: usize| &plan.sequences[batch[row]];
    let count = |of: fn(&Sequence) -> usize| (0..batch.len()).map(|row| of(sequence(row))).sum::<usize>();
    let (tokens, targets) = (count(|sequence| sequence.tokens.len()), count(Sequence::targets));

    let (mut loss, mut entropy) = (0.0, 0.0);
    let lengths = (0..batch.len()).map(|row| GroupLengths::alone(sequence(row).tokens.len()));
    for rows in micro_batches(lengths, student.token_budget()) {
        let mut packed = TokenBatch::new(1.0);
        for row in rows.clone() {
            packed.push(&sequence(row).tokens, sequence(row).first_target..sequence(row).tokens.len());
        }
        let scores = student.forward(&packed)?;
        let mut logprobs = scores.logprobs.iter();
        for row in rows {
            let learnt = logprobs.by_ref().take(sequence(row).targets());
            let nll: f64 = learnt.map(|&logprob| -f64::from(logprob)).sum();
            if !nll.is_finite() {
                let sample = format!("sequence {}", batch[row]);
                return Err(MethodError::NonFinite { step, sample, value: nll });
            }
            loss += nll;
        }
        entropy += scores.entropies.iter().map(|&entropy| f64::from(entropy)).sum::<f64>();
        student.backward(&vec![-1.0 / targets as f32; scores.logprobs.len()])?;
    }
    let lr = learning_rate(&settings.optimizer, step, plan.steps());
    let report = student.update(&settings.optimizer.adamw(lr))?;
    Ok(SftMetrics {
        step: step.into(),
        epoch: f64::from(step) / f64::from(plan.steps_per_epoch()),
        documents: batch.len() as u64,
        batch_tokens: tokens as u64,
        trained_tokens: targets as u64,
        loss: loss / targets as f64,
        entropy: entropy / targets as f64,
        grad_norm: report.grad_norm,
        lr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::run::{RunEnd, drive};
    use crate::settings::{ExampleSettings, OptimizerSettings};
    use crate::testing::{self, Bigram, Chars, Stopper, Watcher};
    use thinktune_policy::Tokenizer;

    fn settings() -> Checked<SftSettings> {
        Checked::new(SftSettings {
            seed: 3,
            examples: ExampleSettings { epochs: 4, batch_size: 2, max_tokens: 8 },
            optimizer: OptimizerSettings { lr: 0.3, ..testing::optimizer() },
            checkpoint_every: 3,
        })
        .unwrap()
    }

    fn sequences() -> Vec<Sequence> {
        let texts = ["abc", "abd", "abe", "ab", "abcabcabc"];
        texts.iter().map(|text| Sequence::document(Chars.document_ids(text))).collect()
    }

    fn train_on(
        student: &mut Bigram,
        sequences: Vec<Sequence>,
        dir: &std::path::Path,
        watcher: &mut dyn Watcher,
    ) -> Result<RunEnd, MethodError> {
        let settings = settings();
        let plan = SftPlan::new(sequences, &settings, &mut Silent)?;
        let mut run = SftRun::new(student, plan, &settings);
        testing::with_hooks(None, watcher, |hooks| drive(&mut run, &mut testing::run_folder(dir), hooks))
    }

    fn train(student: &mut Bigram, dir: &std::path::Path, watcher: &mut dyn Watcher) -> RunEnd {
        train_on(student, sequences(), dir, watcher).unwrap()
    }

    #[test]
    fn learns_and_logs_one_line_an_update() {
        let dir = tempfile::tempdir().unwrap();
        let mut student = Bigram::default();
        assert_eq!(train(&mut student, dir.path(), &mut Silent), RunEnd::Done { steps: 8 });
        let lines = thinktune_runlog::read_sft_metrics(dir.path()).unwrap().records;
        assert_eq!(lines.len(), 8);
        assert!((lines[0].loss - (testing::VOCAB as f64).ln()).abs() < 1e-5, "{}", lines[0].loss);
        assert!((lines[0].entropy - (testing::VOCAB as f64).ln()).abs() < 1e-5);
        assert!(lines[7].loss < 0.9 * lines[0].loss);
        assert_eq!(lines[1].epoch, 1.0);
        let documents: u64 = lines[..2].iter().map(|line| line.documents).sum();
        let trained: u64 = lines[..2].iter().map(|line| line.trained_tokens).sum();
        assert_eq!(
            (documents, trained),
            (4, 4 + 4 + 4 + 3),
            "one epoch without the sequence that is too long"
        );
    }

    #[test]
    fn an_interrupted_run_resumes_to_the_same_bytes() {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut student = Bigram::default();
        train(&mut student, whole.path(), &mut Silent);
        let mut interrupted = Stopper::after(4);
        assert_eq!(
            train(&mut Bigram::default(), parts.path(), &mut interrupted),
            RunEnd::Interrupted { step: 4 }
        );
        let mut resumed = Bigram::default();
        train(&mut resumed, parts.path(), &mut Silent);
        assert_eq!(student.weights, resumed.weights);
        assert_eq!(testing::folder_bytes(whole.path()), testing::folder_bytes(parts.path()));
    }

    #[test]
    fn micro_batches_do_not_change_the_update() {
        let run = |budget| {
            let mut student = Bigram::with_budget(budget);
            train(&mut student, tempfile::tempdir().unwrap().path(), &mut Silent);
            (student.weights, student.forwards)
        };
        let ((one, few), (many, more)) = (run(1000), run(1));
        assert!(more > few);
        assert!(one.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn of_an_answer_the_prompt_is_not_learnt() {
        let prompt = vec![testing::BOS, 'p'.into(), 'q'.into(), 5];
        let answer = vec![Sequence::answer(prompt, &['a'.into(), testing::END])];
        let dir = tempfile::tempdir().unwrap();
        let mut student = Bigram::default();
        train_on(&mut student, answer, dir.path(), &mut Silent).unwrap();
        let touched = |previous: u32| {
            student.weights[previous as usize * testing::VOCAB..][..testing::VOCAB].iter().any(|&w| w != 0.0)
        };
        assert!(!touched(testing::BOS) && !touched('p'.into()) && !touched('q'.into()));
        assert!(touched(5) && touched('a'.into()) && !touched(testing::END));
    }

    #[test]
    fn nothing_to_train_on_is_an_error() {
        let mut settings = (*settings()).clone();
        settings.examples.max_tokens = 2;
        let message = SftPlan::new(sequences(), &settings, &mut Silent).unwrap_err().to_string();
        assert!(
            message.contains("none of the 5 sequences") && message.contains("max_tokens = 2"),
            "{message}"
        );
    }

    #[test]
    fn a_loss_that_is_not_finite_names_the_sequence_and_keeps_the_weights() {
        let mut student = Bigram::default();
        student.weights['b' as usize * testing::VOCAB] = f32::NAN;
        let before = student.weights.clone();
        let dir = tempfile::tempdir().unwrap();
        let error = train_on(&mut student, sequences(), dir.path(), &mut Silent).unwrap_err();
        assert!(error.to_string().contains("step 1: the loss of sequence "), "{error}");
        assert!(before.iter().zip(&student.weights).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
