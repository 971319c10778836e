//! Exit codes, in one place: 0 done, 1 failed, 2 bad usage or configuration.

use std::process::ExitCode;

use thinktune_eval::EvalError;
use thinktune_method::error::MethodError;
use thinktune_method::settings::SettingError;
use thinktune_runlog::RunError;

use crate::config::ConfigError;

/// Something the user typed that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The run was asked to stop and did, leaving a checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("interrupted after step {step}; the same command goes on from there")]
pub struct Interrupted {
    /// The last step done.
    pub step: u32,
}

/// A run that asked for guidance and whose teacher never gave any that could be used. Its model is written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NobodyGuided(pub String);

/// Prints an error and its causes as one sentence and chooses the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let sentence = sentence(error);
    eprintln!("thinktune: {sentence}");
    ExitCode::from(code(error))
}

/// The chain of causes, without those that only repeat what was said before.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// 2 for what the user can put right in the command or the configuration, else 1.
fn code(error: &anyhow::Error) -> u8 {
    let usage = error.chain().any(|cause| {
        cause.is::<UsageError>()
            || cause.is::<ConfigError>()
            || cause.is::<SettingError>()
            || matches!(cause.downcast_ref(), Some(MethodError::Setting(_)))
            || matches!(cause.downcast_ref(), Some(EvalError::Setting(_) | EvalError::OtherEvaluation { .. }))
            || matches!(
                cause.downcast_ref(),
                Some(
                    RunError::OtherConfig { .. }
                        | RunError::OtherVersion { .. }
                        | RunError::NotARunFolder(_)
                        | RunError::OtherInput { .. }
                )
            )
    });
    if usage { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn causes_are_said_once_and_usage_is_told_from_failure() {
        let usage = anyhow::Error::new(UsageError("no such file".into()));
        assert_eq!((code(&usage), sentence(&usage).as_str()), (2, "no such file"));
        let io: anyhow::Result<()> = Err(std::io::Error::other("boom")).context("writing x");
        let failed = io.unwrap_err();
        assert_eq!((code(&failed), sentence(&failed).as_str()), (1, "writing x: boom"));
        let run = anyhow::Error::new(RunError::NotARunFolder("x".into())).context("opening");
        assert_eq!(code(&run), 2);
    }
}
