//! A teacher as the method sees it: a request about an attempt goes in, a reply comes out.

use std::path::PathBuf;

use crate::{GenerateProgress, ModelError, SampleKey};

/// An attempt the teacher is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeacherRequest {
    /// The question, without what the run puts around it.
    pub question: String,
    /// The student's response.
    pub response: String,
    /// Keys the random numbers of the reply.
    pub key: SampleKey,
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeacherReply {
    /// A reply that ended by itself; special tokens, if any, are shown in it.
    Ended {
        /// The reply without its end token.
        text: String,
        /// Tokens drawn.
        tokens: usize,
    },
    /// A reply cut off by the token limit.
    Truncated {
        /// The part there is of it.
        text: String,
        /// Tokens drawn.
        tokens: usize,
    },
    /// The request did not fit into the teacher's prompt; nothing was asked.
    PromptTooLong,
    /// A teacher elsewhere gave no reply that can be used.
    Missing(NoReply),
}

/// Why a teacher elsewhere gave no reply. It costs guidance, not the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoReply {
    /// There was no connection, or it broke.
    Unreachable,
    /// The reply did not come in time.
    TimedOut,
    /// The server was too busy.
    Busy,
    /// The server failed.
    ServerError,
    /// The server refused the request.
    Refused,
    /// The answer was no reply.
    BadAnswer,
}

impl TeacherReply {
    /// Tokens drawn for it.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Ended { tokens, .. } | Self::Truncated { tokens, .. } => *tokens,
            Self::PromptTooLong | Self::Missing(_) => 0,
        }
    }
}

/// A frozen model that reacts to attempts: nothing here can train it.
pub trait Teacher {
    /// One reply per request, in order. A reply depends on its request alone.
    ///
    /// # Errors
    /// A model that fails, or replies that cannot be kept.
    fn replies(
        &mut self,
        requests: &[TeacherRequest],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<TeacherReply>, TeacherError>;

    /// Returns true where its prompts ask for a section before the opinion in which the work is checked.
    fn checks_first(&self) -> bool {
        false
    }
}

/// Sampling of replies, the same for all requests of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct TeacherSampling {
    /// Keys all random numbers.
    pub seed: u64,
    /// Divides the logits.
    pub temperature: f32,
    /// Keeps the smallest set of likeliest tokens whose mass reaches this; 1 keeps all.
    pub top_p: f32,
    /// Longest reply, in tokens.
    pub max_tokens: usize,
    /// Longest prompt, in tokens; a longer one is not asked.
    pub max_prompt_tokens: usize,
}

/// A failure of a teacher that ends the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeacherError {
    /// The model failed, or its chat template refused the prompt.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file of replies cannot be read or written.
    #[error(
        "the teacher's replies cannot be kept: {message}; expected {} to be a file that can be read and appended to: \
         put that right and start the same command again, which asks nothing twice",
        path.display()
    )]
    Cache {
        /// The file.
        path: PathBuf,
        /// The cause.
        message: String,
    },
}
