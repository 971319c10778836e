//! The settings of the methods, each defined here and nowhere else.

use thinktune_settings::{above, above_up_to, at_least, between, choices, from_below, section, within};

use super::advantages::largest_advantages;

section! {
    /// Sampling of attempts. Nothing is truncated (no top-k, top-p or min-p), because the method trains on the
    /// distribution that it samples from.
    RolloutSettings = "rollout" {
        /// Questions drawn for one step.
        questions_per_step: value(usize = 128_usize, at_least(1.0)),
        /// Attempts at each question (n).
        group_size: value(usize = 5_usize, at_least(1.0)),
        /// Divides the logits, when sampling and when training.
        temperature: value(f32 = 1.0_f32, above(0.0).note(" (training samples, never greedily)")),
        /// Longest prompt, in tokens; a longer one is an error before the first step.
        max_prompt_tokens: value(usize = 512_usize, at_least(1.0)),
        /// Longest response, in tokens, guidance and end token included.
        max_response_tokens: value(usize = 1024_usize, at_least(1.0)),
    }
}

section! {
    /// The teacher's help. Method thinktuning only.
    GuidanceSettings = "guidance" {
        /// Share of each group's eligible attempts that is guided, at least one of them while gamma is above 0: with
        /// five attempts every gamma below 0.4 guides exactly one.
        gamma: section(GammaSchedule),
        /// Last step with guidance (k). Default: none, guidance lasts as long as gamma does.
        last_step: optional(u32 => 50_u32),
        /// Guidance is off once gamma is at or below this. Default: 0 where any of gamma is set.
        min_gamma: value(f64 = 0.06, from_below(0.0, 1.0)),
        /// Few-shot prompts of the teacher: the name of a built-in set (an unknown name lists them) or a file.
        prompts: value(String = "reasoning"),
        /// Longest prompt of the teacher, in tokens; an attempt whose request is longer stays unguided.
        max_teacher_prompt_tokens: value(usize = 3072_usize, at_least(1.0)),
        /// Longest reply of the teacher, in tokens.
        max_teacher_tokens: value(usize = 1024_usize, at_least(1.0)),
        /// Longest guidance spliced in, in the student's tokens; longer feedback is not used.
        max_feedback_tokens: value(usize = 512_usize, at_least(1.0)),
        /// The teacher's sampling temperature; 0 is greedy.
        teacher_temperature: value(f32 = 1.0_f32, at_least(0.0)),
        /// The teacher draws from the smallest set of likeliest tokens whose mass reaches this; 1 is off.
        teacher_top_p: value(f32 = 1.0_f32, above_up_to(0.0, 1.0)),
        /// After so many steps in a row with gamma above 0 and no guided token in the loss guidance ends: the run fails
        /// where no feedback was ever used, and goes on without guidance, with a notice, where some was.
        max_unguided_steps: value(u32 = 10_u32, at_least(1.0)),
    }
}

section! {
    /// Gamma's way from start to end; gamma is the share of each group's eligible attempts that is guided, rounded down
    /// and at least one: with five attempts (rollout.group_size) every gamma below 0.4 chooses exactly one, and gamma is
    /// a switch. The default guides steps 1 to 8: gamma is 0.0606 at step 8, and at step 9 0.055, below min_gamma.
    /// `guidance.gamma = 0.25` alone means a constant.
    GammaSchedule = "guidance.gamma" {
        /// The way from start to end.
        shape: value(GammaShape = GammaShape::Linear),
        /// Gamma at step 1.
        start: value(f64 = 0.1, within(0.0, 1.0)),
        /// Gamma once `steps` steps have passed. Default: with "constant" the start.
        end: value(f64 = 0.01, within(0.0, 1.0)),
        /// Steps from start to end: gamma reaches its end at step `steps` + 1. Default: 16 where nothing of gamma is
        /// set, else guidance.last_step, else the whole run.
        steps: optional(u32 => 16_u32, at_least(1.0)),
    }
}

choices! {
    /// The way of gamma from its start to its end.
    GammaShape {
        /// Stays at the start.
        Constant = "constant",
        /// A straight line.
        Linear = "linear",
        /// Half a cosine wave.
        Cosine = "cosine",
        /// The same factor every step.
        Exponential = "exponential",
    }
}

section! {
    /// Rewards beyond the outcome, and the scale of advantages.
    RewardSettings = "reward" {
        /// Divisor of a reward's distance from its group's mean: "std" (the group's standard deviation) or "none".
        /// Default with loss.aggregation = "dr_grpo": none.
        scale: value(RewardScale = RewardScale::Std),
        /// Phrase that earns a bonus where it appears exactly once.
        phrase: optional(String => "some words"),
        /// The bonus.
        phrase_bonus: value(f64 = 0.5),
    }
}

choices! {
    /// Divisor of a reward's distance from its group's mean.
    RewardScale {
        /// The standard deviation of the group's rewards, with n - 1.
        Std = "std",
        /// None, as in Dr. GRPO: a group whose rewards differ little counts little.
        None = "none",
    }
}

section! {
    /// The objective.
    LossSettings = "loss" {
        /// The ratio pi / pi_old is clipped at 1 - eps_low ...
        eps_low: value(f64 = 0.2, within(0.0, 1.0)),
        /// ... and at 1 + eps_high.
        eps_high: value(f64 = 0.2, at_least(0.0)),
        /// Weight of KL(pi || pi_ref), pi_ref being the initial student; 0 is off.
        beta: value(f64 = 0.0, at_least(0.0)),
        /// c of the weight w_aas = p / (sg(p) + c) at the largest advantage (the paper's c1).
        c_at_max_advantage: value(f64 = 1e-4, between(-1.0, 1.0).note(": it is added to a probability")),
        /// c at the smallest advantage (the paper's c2).
        c_at_min_advantage: value(f64 = -1e-4, between(-1.0, 1.0).note(": it is added to a probability")),
        /// Smallest and largest advantage in c's scale (A_min and A_max). Default: -+(n - 1) / sqrt(n), the largest
        /// standardised value in a group of n = rollout.group_size.
        advantage_range: value([f64; 2] = largest_advantages(5)),
        /// Largest weight w_aas, which a negative c alone can raise above 1.
        max_weight: value(f64 = 2.0, above(1.0).or_infinite().note("; inf turns the cap off")),
        /// Guided tokens with A < 0 and a probability below this are not pushed down (the paper's tau). At least twice
        /// -c where c is negative: below that w_aas passes 2.
        low_confidence_below: value(f64 = 0.01, from_below(0.0, 1.0)),
        /// Treatment of those tokens: "mask" (nothing) or "clip" (the ordinary clipped ratio).
        low_confidence: value(LowConfidence = LowConfidence::Mask),
        /// Tokens weighted by w_aas: the whole guided "trajectory", or only the teacher's "guidance".
        scope: value(Scope = Scope::Trajectory),
        /// "sequence_mean" (over a response's tokens, then over responses), "token_mean" (over all tokens) or "dr_grpo"
        /// (sum over tokens, divided by responses times the longest response allowed). All denominators count the whole
        /// mini-batch.
        aggregation: value(Aggregation = Aggregation::SequenceMean),
    }
}

choices! {
    /// Treatment of guided tokens with A < 0 and a low probability.
    LowConfidence {
        /// They contribute nothing.
        Mask = "mask",
        /// They get the clipped ratio of ordinary tokens.
        Clip = "clip",
    }
}

choices! {
    /// Tokens that get the advantage-aware weight w_aas.
    Scope {
        /// All tokens of a guided trajectory.
        Trajectory = "trajectory",
        /// Only the teacher's.
        Guidance = "guidance",
    }
}

choices! {
    /// The way from token terms to one number; all denominators count the whole mini-batch.
    Aggregation {
        /// Mean over the tokens of a response, then over responses.
        SequenceMean = "sequence_mean",
        /// Mean over all tokens.
        TokenMean = "token_mean",
        /// Sum over tokens, divided by responses times the longest response allowed.
        DrGrpo = "dr_grpo",
    }
}

section! {
    /// AdamW and its schedule.
    OptimizerSettings = "optimizer" {
        /// Peak learning rate. Default with sft: 1e-5.
        lr: value(f64 = 1e-6, above(0.0)),
        /// Course of the learning rate after warm-up.
        schedule: value(LrSchedule = LrSchedule::Constant),
        /// Steps of linear warm-up.
        warmup_steps: value(u32 = 0_u32),
        /// Decoupled weight decay; norms and biases are spared.
        weight_decay: value(f64 = 0.01, at_least(0.0)),
        /// AdamW's decay of the first and of the second moment.
        betas: value([f64; 2] = [0.9, 0.999], from_below(0.0, 1.0)),
        /// Gradients are scaled down to this global norm; inf is off.
        grad_clip: value(f64 = 1.0, above(0.0).or_infinite().note("; inf turns clipping off")),
    }
}

choices! {
    /// Course of the learning rate after warm-up.
    LrSchedule {
        /// Stays at the peak.
        Constant = "constant",
        /// A straight line towards 0.
        Linear = "linear",
        /// Half a cosine wave towards 0.
        Cosine = "cosine",
    }
}

section! {
    /// The optimizer's share of a step. Methods thinktuning and grpo only.
    MiniBatchSettings = "optimizer" {
        /// Questions per optimizer update; divides rollout.questions_per_step. Default where there are fewer: all.
        mini_batch_questions: value(usize = 32_usize, at_least(1.0)),
    }
}

section! {
    /// Length, checkpoints, evaluations.
    RunSettings = "run" {
        /// Training steps. Must be given except for sft.
        steps: required(u32 => 58_u32, at_least(1.0)),
        /// Steps between checkpoints; the last step always gets one. Default with sft: 100.
        checkpoint_every: value(u32 = 10_u32, at_least(1.0)),
        /// Steps between evaluations on the held-out sets, which also take place before the first step and after the
        /// last.
        eval_every: optional(u32 => 10_u32, at_least(1.0)),
        /// Write every token's log-prob into the rollouts.
        log_logprobs: value(bool = false),
        /// Compute every sampled or spliced token's log-prob a second time before training on it, and fail unless the
        /// two are equal to the bit. They are; this is to see it.
        check_logprobs: value(bool = false),
    }
}

section! {
    /// Supervised fine-tuning. Method sft only.
    ExampleSettings = "sft" {
        /// Passes over the examples.
        epochs: value(u32 = 1_u32, at_least(1.0)),
        /// Examples per optimizer update.
        batch_size: value(usize = 32_usize, at_least(1.0)),
        /// Longest example, in tokens; longer ones are left out, with a notice.
        max_tokens: value(usize = 2048_usize, at_least(2.0)),
    }
}
