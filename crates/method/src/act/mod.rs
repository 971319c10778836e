//! Step 1, act: draw questions, sample n attempts at each from the current student.

pub mod questions;

use std::sync::Arc;

use thinktune_policy::{Completion, Generate, Prompt, SampleKey, Sampling, Stream, Tokenizer};

use crate::error::MethodError;
use crate::progress::Progress;
use crate::rollout::{Asked, Attempt, Group};
use crate::settings::RlSettings;

/// Samples `group_size` attempts at each question.
pub fn act(
    student: &mut dyn Generate,
    tokenizer: &dyn Tokenizer,
    questions: &[Arc<Asked>],
    step: u32,
    settings: &RlSettings,
    progress: &mut dyn Progress,
) -> Result<Vec<Group<Attempt>>, MethodError> {
    let group_size = settings.rollout.group_size as u32;
    let prompts: Vec<Prompt> = questions
        .iter()
        .map(|asked| Prompt {
            tokens: Arc::clone(&asked.prompt),
            keys: (0..group_size).map(|sample| attempt_key(step, asked, sample)).collect(),
        })
        .collect();
    let sampling = sampling(settings, tokenizer.stop());
    let completions = student.generate(&prompts, &sampling, &mut |so_far| progress.sampling(so_far))?;

    let group = |((asked, prompt), completions): ((&Arc<Asked>, &Prompt), Vec<Completion>)| Group {
        asked: Arc::clone(asked),
        rows: prompt.keys.iter().zip(completions).map(|(key, made)| attempt(*key, made, tokenizer)).collect(),
    };
    Ok(questions.iter().zip(&prompts).zip(completions).map(group).collect())
}

/// The key of one attempt.
fn attempt_key(step: u32, asked: &Asked, sample: u32) -> SampleKey {
    SampleKey { stream: Stream::Attempt, step, question: asked.question.index, sample }
}

fn sampling(settings: &RlSettings, stop: &[u32]) -> Sampling {
    let rollout = &settings.rollout;
    Sampling {
        seed: settings.seed,
        temperature: rollout.temperature,
        top_k: None,
        top_p: 1.0,
        min_p: 0.0,
        max_tokens: rollout.max_response_tokens,
        stop: stop.to_vec(),
    }
}

fn attempt(key: SampleKey, completion: Completion, tokenizer: &dyn Tokenizer) -> Attempt {
    let Completion { tokens, logprobs, finish } = completion;
    Attempt { key, text: tokenizer.decode(&tokens), tokens, logprobs, finish }
}
