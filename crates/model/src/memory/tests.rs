//! Memory plans of a model of 0.5 B parameters.

use proptest::prelude::*;
use thinktune_compute::Precision;

use super::*;
use crate::spec::Family;

const GIB: u64 = 1 << 30;

fn half_a_billion() -> ModelSpec {
    ModelSpec {
        family: Family::Qwen2,
        vocab_size: 151_936,
        width: 896,
        layers: 24,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        ffn: 4864,
        rope_theta: 1e6,
        rope_scaling: None,
        norm_eps: 1e-6,
        qkv_bias: true,
        qk_norm: false,
        tied_head: false,
        context: 32_768,
    }
}

fn job(spec: &ModelSpec, precision: Precision) -> TrainingJob<'_> {
    let sampled = |phase, prompt, completion, samples| Sampled { phase, spec, prompt, completion, samples };
    TrainingJob {
        spec,
        precision,
        frozen: vec![FrozenShape { name: "teacher", spec, initial: true }],
        longest: 1152,
        per_update: 45_056,
        sampled: vec![sampled("act", 512, 640, 128), sampled("help", 2560, 320, 32)],
        decoders: 2,
    }
}

fn settle(precision: Precision, total: u64) -> Result<MemoryPlan, DoesNotFit> {
    MemoryPlan::settle(&job(&half_a_billion(), precision), MachineMemory { total })
}

#[test]
fn a_smaller_machine_gets_a_smaller_cut() {
    let wide = settle(Precision::Bf16, 64 * GIB).unwrap();
    assert_eq!((wide.micro_batch_tokens, wide.recompute, wide.rows), (4096, false, 128));
    let narrow = settle(Precision::Bf16, 16 * GIB).unwrap();
    assert!(narrow.micro_batch_tokens < 4096 && narrow.rows < 128 && !narrow.recompute, "{narrow:?}");
    let narrowest = settle(Precision::Bf16, 14 * GIB).unwrap();
    assert!(narrowest.recompute, "{narrowest:?}");
    assert_eq!(narrowest.micro_batch_tokens, 1152, "the longest sequence stays whole");
}

#[test]
fn what_does_not_fit_says_what_would() {
    let message = settle(Precision::F32, 15 * GIB).unwrap_err().to_string();
    assert!(message.contains("14.75 GiB can be used"), "{message}");
    assert!(message.ends_with("set model.precision = \"bf16\""), "{message}");
    let message = settle(Precision::F32, 8 * GIB).unwrap_err().to_string();
    assert!(message.ends_with("take a smaller model"), "{message}");
    let message = settle(Precision::Bf16, 8 * GIB).unwrap_err().to_string();
    assert!(message.ends_with("take a smaller model or shorter sequences"), "{message}");
}

#[test]
fn a_teacher_counts_by_its_own_shape() {
    let (small, large) = (half_a_billion(), ModelSpec { layers: 48, ..half_a_billion() });
    let mut job = job(&small, Precision::Bf16);
    let peak =
        |job: &TrainingJob<'_>| MemoryPlan::settle(job, MachineMemory { total: 64 * GIB }).unwrap().peak();
    let alone = peak(&job);
    job.frozen[0] = FrozenShape { name: "teacher", spec: &large, initial: false };
    let more = (large.parameters() - small.parameters()) as u64 * 2;
    assert_eq!(peak(&job), alone + more);
    // a reference that is the initial student shares nothing with it
    job.frozen.push(FrozenShape { name: "reference", spec: &small, initial: true });
    assert_eq!(peak(&job), alone + more + 2 * small.parameters() as u64);
}

proptest! {
    #[test]
    fn what_is_settled_fits(mib in 1024u64..65_536, bf16: bool) {
        let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
        match settle(precision, mib << 20) {
            Ok(plan) => prop_assert!(plan.peak() <= plan.usable()),
            Err(fault) => {
                prop_assert!(fault.plan.peak() > fault.plan.usable());
                // what does not fit here fits nowhere smaller
                prop_assert!(settle(precision, (mib << 20) - (64 << 20)).is_err());
            }
        }
    }

    #[test]
    fn a_settled_budget_gives_the_planned_cut(gib in 13u64..64) {
        let spec = half_a_billion();
        if let Ok(plan) = settle(Precision::Bf16, gib * GIB) {
            let tokens = plan.budget.micro_batch_tokens(&spec, Precision::Bf16, Recompute::Auto);
            prop_assert_eq!(plan.micro_batch_tokens, tokens.max(1152));
            let rows = plan.budget.rows(&spec, 1152, 2) * 2;
            prop_assert_eq!(plan.rows, rows.min(128));
        }
    }
}
