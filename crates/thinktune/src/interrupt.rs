//! Ctrl-C: the first one asks the run to finish its step and write a checkpoint; the second stops at once.

use std::sync::atomic::{AtomicU32, Ordering};

use thinktune_method::progress::Control;

static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Exit code of a process stopped at once: 128 + SIGINT, as shells have it.
const STOPPED: i32 = 130;

/// From now on signals are counted instead of ending the process.
///
/// # Errors
/// The system refuses the handler.
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if SIGNALS.fetch_add(1, Ordering::SeqCst) == 0 {
            eprintln!(
                "\nthinktune: finishing this step, then writing a checkpoint; press Ctrl-C again to stop at once"
            );
        } else {
            eprintln!("\nthinktune: stopped at once; the same command goes on from the last checkpoint");
            std::process::exit(STOPPED);
        }
    })?;
    Ok(())
}

/// Whether a signal has come.
pub fn requested() -> bool {
    SIGNALS.load(Ordering::SeqCst) > 0
}

/// Interrupts a run after its step once a signal has come.
pub struct CtrlC;

impl Control for CtrlC {
    fn interrupted(&mut self) -> bool {
        requested()
    }
}
