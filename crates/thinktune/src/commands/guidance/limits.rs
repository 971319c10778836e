//! Limits and sampling, as the arguments have them.

use thinktune_method::help::splice::Limits;
use thinktune_policy::TeacherSampling;

use crate::args::GuidanceArgs;

/// Longest guidance and longest response.
pub fn limits(args: &GuidanceArgs) -> Limits {
    Limits { feedback_tokens: args.max_feedback_tokens, response_tokens: args.max_response_tokens }
}

/// Sampling of replies.
pub fn teacher_sampling(args: &GuidanceArgs) -> TeacherSampling {
    TeacherSampling {
        seed: args.seed,
        temperature: args.teacher_temperature,
        top_p: args.teacher_top_p,
        max_tokens: args.max_teacher_tokens,
        max_prompt_tokens: args.max_teacher_prompt_tokens,
    }
}
