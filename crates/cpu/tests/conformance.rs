//! The CPU backend against the suite that every backend passes: with the thread pool, on one thread, and with threads
//! that are awake.

use thinktune_compute::{Backend, conformance};
use thinktune_cpu::Cpu;

#[test]
fn pool_conforms() {
    conformance::run(&Cpu::new());
}

#[test]
fn single_thread_and_spinning_threads_conform() {
    // a small model is decoded by one thread per handle, a large one by threads that share every product
    for weight_bytes in [0, u64::MAX] {
        let handle = Cpu::new().decoders(2, weight_bytes).into_iter().next().expect("a handle");
        conformance::run(&handle);
    }
}
