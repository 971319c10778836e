//! A run gives the same bits on every instruction set the kernels know. The set is chosen once per process, so each
//! is tried in a process of its own: this test's program, told to print what a run comes to.

mod common;
#[path = "common/models.rs"]
mod models;

use std::process::Command;

use models::{MODELS, generate, load, prompts, sampling, train_once, training_batch};

const MARK: &str = "run comes to ";

/// Takes about ten seconds: every model on every instruction set, and the portable one is slow.
#[test]
fn instruction_sets_change_no_bit() {
    let run = |isa: &str| {
        let program = std::env::current_exe().expect("this program");
        let arguments = ["--exact", "print_what_a_run_comes_to", "--ignored", "--nocapture"];
        let out = Command::new(program).args(arguments).env("THINKTUNE_ISA", isa).output().expect("a run");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let lines: Vec<String> =
            text.lines().filter_map(|line| line.split_once(MARK)).map(|(_, rest)| rest.to_owned()).collect();
        assert_eq!(lines.len(), MODELS.len() + 1, "{isa}: {text}{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(lines[0], isa, "the instruction set asked for is the one used");
        lines[1..].to_vec()
    };
    let portable = run("portable");
    for isa in thinktune_cpu::Isa::available() {
        assert_eq!(run(isa.name()), portable, "{} and portable", isa.name());
    }
}

/// Two training steps and some samples of each model, as a hash of their bits.
#[test]
#[ignore = "a part of `instruction_sets_change_no_bit`"]
fn print_what_a_run_comes_to() {
    println!("{MARK}{}", thinktune_cpu::isa().name());
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        let mut hash = 0xCBF2_9CE4_8422_2325u64;
        let mut add = |values: &[f32]| {
            for value in values {
                hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01B3);
            }
        };
        for _ in 0..2 {
            let (logprobs, gradient, weights) = train_once(&mut model, &batch);
            [logprobs, gradient, weights].iter().for_each(|values| add(values));
        }
        let prompts = prompts(&model, 2);
        for completion in generate(&mut model, &prompts, &sampling(0.9, 12)).concat() {
            add(&completion.logprobs);
        }
        println!("{MARK}{name} {hash:016x}");
    }
}
