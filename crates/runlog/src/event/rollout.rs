//! Responses of a step, with who wrote which token.

use serde::{Deserialize, Serialize};

use super::field::Value;

/// The author of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// Sampled from the student.
    Student,
    /// Spliced in from the teacher's feedback.
    Teacher,
}

/// A run of consecutive tokens by one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorRun {
    /// Their author.
    pub author: Author,
    /// Number of tokens.
    pub tokens: usize,
}

/// Run-length form of a per-token author list.
pub fn author_runs(authors: impl IntoIterator<Item = Author>) -> Vec<AuthorRun> {
    let mut runs: Vec<AuthorRun> = Vec::new();
    for author in authors {
        match runs.last_mut() {
            Some(last) if last.author == author => last.tokens += 1,
            _ => runs.push(AuthorRun { author, tokens: 1 }),
        }
    }
    runs
}

/// The teacher's feedback on an attempt, used or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GuidanceRecord {
    /// The student's text before guidance.
    pub attempt: String,
    /// Grader's verdict on that text.
    pub attempt_verdict: String,
    /// The teacher's raw feedback.
    pub feedback: String,
    /// The behaviour that the feedback shows; null where none was recognised.
    #[serde(default)]
    pub behaviour: Option<String>,
    /// The teacher's opinion of the attempt, `correct` or `incorrect`; null where the feedback was not used.
    pub opinion: Option<String>,
    /// Why the feedback was not used; null where it was.
    pub rejected: Option<String>,
}

/// One response of a step: one line of `rollouts/step_NNNNNN.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// Training step, from 1.
    pub step: u64,
    /// Index of the question in its data set.
    pub question: u32,
    /// Index of the sample within its group.
    pub sample: u32,
    /// The question as the data set has it.
    pub question_text: String,
    /// The reference answer.
    pub gold: String,
    /// The response trained on, guidance included.
    pub response: String,
    /// Tokens of the response.
    pub tokens: Vec<u32>,
    /// Authors of the tokens, in order; the counts add up to the length of `tokens`.
    pub authors: Vec<AuthorRun>,
    /// True where the response ended by itself.
    pub ended: bool,
    /// True where guidance was spliced in.
    pub guided: bool,
    /// Grader's verdict on the response.
    pub verdict: String,
    /// Why the response is not right: `not_ended` (cut off), `other_end` (ended by another token than the end of the turn),
    /// `no_answer`, `wrong_answer` or `unparseable`; null where it is right.
    #[serde(default)]
    pub why_wrong: Option<String>,
    /// The grader's reason, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade_reason: Option<String>,
    /// The final answer the grader read; null where none was found.
    pub extracted: Option<String>,
    /// Reward, shaping included.
    #[serde(deserialize_with = "f64::read")]
    pub reward: f64,
    /// Advantage shared by all tokens of the response.
    #[serde(deserialize_with = "f64::read")]
    pub advantage: f64,
    /// The teacher's feedback, for attempts it was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceRecord>,
    /// Log-prob of each token when it was sampled (of guided tokens: under the student before the step), on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_run_length_encoded() {
        use Author::{Student, Teacher};
        let runs = author_runs([Student, Student, Teacher, Teacher, Teacher, Student]);
        assert_eq!(runs.iter().map(|run| run.tokens).collect::<Vec<_>>(), [2, 3, 1]);
        assert_eq!(runs[1].author, Teacher);
        assert!(author_runs([]).is_empty());
    }
}
