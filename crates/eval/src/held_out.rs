//! Held-out sets: questions that a student under training is asked now and then, by the same conversations, grader and
//! meaning of accuracy as `thinktune eval`.

use thinktune_policy::{GenerateProgress, Stream};
use thinktune_runlog::event::{EvalMetrics, HeldOutRecord, HeldOutResult};
use thinktune_tasks::grading::grade;
use thinktune_tasks::{Question, Verdict, first_attempt};

use crate::ask::{AnswerSampling, Conversation, Conversations};
use crate::methods::{QuestionPrompt, ZeroShot};
use crate::record::AnswerRecord;
use crate::statistics::{mean, share, standard_deviation};
use crate::{EvalError, Subject};

/// Questions held out, and how they are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOutSet {
    /// Its name, where a run has several.
    pub name: String,
    /// The questions.
    pub questions: Vec<Question>,
    /// System message, if any.
    pub system: Option<String>,
    /// Appended to each question, e.g. the answer format asked for.
    pub suffix: String,
    /// Answers sampled per question.
    pub samples: u32,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f32,
    /// Longest answer, in tokens.
    pub answer_tokens: usize,
    /// Phrase whose rate is measured.
    pub phrase: Option<String>,
    /// Keys the random numbers, the same at every evaluation: what differs between two results is the model.
    pub seed: u64,
}

/// Asks `subject`, which has reached training step `step`, all questions of a set, once per sample, without any method
/// of prompting.
///
/// # Errors
/// No questions or no samples, a failing model.
pub fn evaluate(
    subject: &mut Subject<'_>,
    set: &HeldOutSet,
    step: u32,
    progress: &mut dyn FnMut(GenerateProgress),
) -> Result<HeldOutResult, EvalError> {
    if set.questions.is_empty() || set.samples == 0 {
        let (name, questions, samples) = (&set.name, set.questions.len(), set.samples);
        return Err(EvalError::Setting(format!(
            "held-out set {name:?} has {questions} questions with {samples} samples each: expected at least one of each"
        )));
    }
    let conversation = |question: &Question, sample| {
        Conversation::new(question.index, sample, set.asked(question, subject.context))
    };
    let mut conversations: Vec<Conversation> =
        set.wanted().map(|(question, sample)| conversation(question, sample)).collect();
    let HeldOutSet { seed, temperature, .. } = *set;
    let sampling = AnswerSampling { stream: Stream::HeldOut, seed, temperature };
    Conversations { subject, method: &ZeroShot, sampling, progress }.finish(&mut conversations)?;
    let answers: Vec<HeldOutRecord> = conversations
        .iter()
        .zip(set.wanted())
        .map(|(conversation, (question, _))| set.record(conversation, question, step))
        .collect();
    Ok(HeldOutResult { metrics: set.metrics(&answers, step), answers })
}

impl HeldOutSet {
    /// Every question with every sample of it, in order.
    fn wanted(&self) -> impl Iterator<Item = (&Question, u32)> {
        let samples = self.samples;
        self.questions.iter().flat_map(move |question| (0..samples).map(move |sample| (question, sample)))
    }

    fn asked(&self, question: &Question, context: usize) -> QuestionPrompt {
        QuestionPrompt {
            system: self.system.clone(),
            prompt: format!("{}{}", question.text, self.suffix),
            answer_tokens: self.answer_tokens,
            budget_tokens: self.answer_tokens,
            room_tokens: context,
        }
    }

    fn record(&self, conversation: &Conversation, question: &Question, step: u32) -> HeldOutRecord {
        let answer = AnswerRecord::of(conversation, question, &ZeroShot);
        let first = grade(question.kind, &question.gold, first_attempt(&answer.response));
        HeldOutRecord {
            set: self.name.clone(),
            step: step.into(),
            question: answer.question,
            sample: answer.sample,
            right: answer.is_right(),
            why_wrong: answer.why_wrong.map(|why| why.name().into()),
            correct_any_end: answer.correct_any_end,
            first_attempt_right: first.verdict == Verdict::Correct,
            reflects: answer.reflection.is_some(),
            changed: answer.is_changed(),
            gold: answer.gold,
            verdict: answer.verdict.name().into(),
            extracted: answer.extracted,
            truncated: answer.truncated,
            tokens: answer.tokens,
            response: answer.response,
        }
    }

    fn metrics(&self, answers: &[HeldOutRecord], step: u32) -> EvalMetrics {
        let of_questions = answers.chunks(self.samples as usize);
        let accuracies: Vec<f64> =
            of_questions.map(|answers| share(answers, |answer| answer.right)).collect();
        let reflecting: Vec<&HeldOutRecord> = answers.iter().filter(|answer| answer.reflects).collect();
        let ends_right = |first_right: bool| {
            let of: Vec<&&HeldOutRecord> =
                reflecting.iter().filter(|answer| answer.first_attempt_right == first_right).collect();
            share(&of, |answer| answer.right)
        };
        let becomes = |first_right: bool, right: bool| {
            share(&reflecting, |answer| answer.first_attempt_right == first_right && answer.right == right)
        };
        EvalMetrics {
            set: self.name.clone(),
            step: step.into(),
            questions: self.questions.len() as u64,
            samples: self.samples.into(),
            accuracy: mean(&accuracies),
            correct_any_end: share(answers, |answer| answer.correct_any_end),
            accuracy_stderr: standard_deviation(&accuracies) / (accuracies.len() as f64).sqrt(),
            first_attempt_accuracy: share(answers, |answer| answer.first_attempt_right),
            reflection_rate: share(answers, |answer| answer.reflects),
            phrase_rate: match &self.phrase {
                Some(phrase) => share(answers, |answer| answer.response.matches(phrase).count() == 1),
                None => f64::NAN,
            },
            reflected_right_to_right: ends_right(true),
            reflected_wrong_to_right: ends_right(false),
            changed: share(&reflecting, |answer| answer.changed),
            mended: becomes(false, true),
            spoilt: becomes(true, false),
            response_tokens_mean: mean(
                &answers.iter().map(|answer| answer.tokens as f64).collect::<Vec<_>>(),
            ),
            truncated: share(answers, |answer| answer.truncated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Actor, Chars, sums};
    use thinktune_policy::SampleKey;

    fn set(questions: u32, samples: u32) -> HeldOutSet {
        HeldOutSet {
            name: "sums".into(),
            questions: sums(questions),
            system: None,
            suffix: " Answer in a box.".into(),
            samples,
            temperature: 1.0,
            answer_tokens: 30,
            phrase: Some("aha".into()),
            seed: 5,
        }
    }

    fn asked<F: Fn(SampleKey, &str) -> String>(
        model: &mut Actor<F>,
        set: &HeldOutSet,
        step: u32,
    ) -> Result<HeldOutResult, EvalError> {
        let mut subject = Subject { model, tokenizer: &Chars { template: true }, context: 1000 };
        evaluate(&mut subject, set, step, &mut |_| ())
    }

    /// Right, mended, spoilt, and right but cut off.
    fn says(key: SampleKey, _: &str) -> String {
        let texts = [
            ["\\boxed{0}", "\\boxed{1}\n\naha \\boxed{0}"],
            ["\\boxed{2}\n\nno \\boxed{3}", "\\boxed{2} and so on and on and on"],
        ];
        texts[key.question as usize][key.sample as usize].into()
    }

    #[test]
    fn every_number_worked_out_by_hand() {
        let HeldOutResult { metrics: found, answers } = asked(&mut Actor::new(says), &set(2, 2), 7).unwrap();
        assert_eq!((found.set.as_str(), found.step, found.questions, found.samples), ("sums", 7, 2, 2));
        assert_eq!(found.accuracy, 0.5, "right, mended, spoilt, cut off");
        let deviation = 0.5f64.sqrt();
        assert!((found.accuracy_stderr - deviation / 2f64.sqrt()).abs() < 1e-12, "question means 1 and 0");
        assert_eq!(found.first_attempt_accuracy, 0.75);
        assert_eq!(found.reflection_rate, 0.5);
        assert_eq!(found.phrase_rate, 0.25);
        assert_eq!((found.reflected_right_to_right, found.reflected_wrong_to_right), (0.0, 1.0));
        assert_eq!(found.truncated, 0.25);
        assert_eq!(found.correct_any_end, 0.25, "right but cut off");
        assert_eq!((found.changed, found.mended, found.spoilt), (1.0, 0.5, 0.5));
        let why = |answer: &HeldOutRecord| answer.why_wrong.clone();
        let expected = [None, None, Some("wrong_answer".to_string()), Some("not_ended".to_string())];
        assert_eq!(answers.iter().map(why).collect::<Vec<_>>(), expected);
        assert_eq!(found.response_tokens_mean, (10.0 + 25.0 + 24.0 + 30.0) / 4.0);
        let kept = |answer: &HeldOutRecord| (answer.question, answer.sample, answer.right, answer.truncated);
        let expected = [(0, 0, true, false), (0, 1, true, false), (1, 0, false, false), (1, 1, false, true)];
        assert_eq!(answers.iter().map(kept).collect::<Vec<_>>(), expected);
        assert_eq!((answers[3].verdict.as_str(), answers[3].first_attempt_right), ("correct", true));
        assert_eq!(answers[2].response, "\\boxed{2}\n\nno \\boxed{3}");
    }

    #[test]
    fn questions_are_put_with_system_and_suffix() {
        let with_system = HeldOutSet { system: Some("Be brief.".into()), ..set(1, 2) };
        let mut model = Actor::new(|_: SampleKey, _: &str| "\\boxed{0}".into());
        asked(&mut model, &with_system, 3).unwrap();
        let prompt = "<System>Be brief.<end><User>0+0? Answer in a box.<end><Assistant>";
        let key = |sample| SampleKey { stream: Stream::HeldOut, step: 0, question: 0, sample };
        assert_eq!(model.asked, [(key(0), prompt.into()), (key(1), prompt.into())], "the step is no key");
        assert_eq!(model.calls, 1);
    }

    #[test]
    fn an_empty_set_is_refused() {
        let refused = |set: &HeldOutSet| asked(&mut Actor::new(says), set, 0).unwrap_err().to_string();
        assert!(refused(&set(0, 1)).contains("\"sums\" has 0 questions"));
        assert!(refused(&set(1, 0)).contains("with 0 samples"));
    }

    /// One meaning of accuracy: the same answers give the same number in `thinktune eval`.
    #[test]
    fn accuracy_is_that_of_the_evaluation() {
        let dir = tempfile::tempdir().unwrap();
        let identity =
            crate::folder::Identity { model: "m".into(), model_sha256: "sha".into(), ..Default::default() };
        let folder = crate::EvalFolder::open(dir.path(), identity).unwrap();
        let settings = crate::EvalSettings { answer_tokens: Some(30), ..crate::testing::settings(2) };
        let mut model = Actor::new(says);
        let mut subject = Subject { model: &mut model, tokenizer: &Chars { template: true }, context: 1000 };
        let sets = [crate::testing::benchmark_set(2)];
        let silent = &mut crate::run::Silent;
        let summary =
            &crate::run::run(&mut subject, &sets, &[&ZeroShot], &settings, &folder, silent).unwrap()[0];
        let held_out = asked(&mut Actor::new(says), &set(2, 2), 0).unwrap().metrics;
        assert_eq!((summary.accuracy, summary.truncated), (held_out.accuracy, held_out.truncated));
        assert_eq!(held_out.accuracy, 0.5, "an answer that was cut off is not right");
    }
}
