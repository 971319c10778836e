//! Logs, to stderr: warnings by default, more with -v, less with -q; THINKTUNE_LOG overrides both.

use tracing_subscriber::EnvFilter;

/// Environment variable with a filter such as `debug` or `thinktune_model=trace`.
pub const VARIABLE: &str = "THINKTUNE_LOG";

/// Starts logging.
pub fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only a second call could fail, and there is none.
    let _ = subscriber.without_time().try_init();
}
