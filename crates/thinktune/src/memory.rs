//! The memory that a run will hold, settled before its models are loaded.

use thinktune_model::ModelSpec;
use thinktune_model::memory::{DoesNotFit, FrozenShape, MachineMemory, MemoryPlan, Sampled, TrainingJob};

use crate::plan::{Help, Job, Plan, RlPlan, Teacher};

/// Settles how a run is cut to fit the memory: that of the machine, of its cgroup, or of `model.memory_gib`. `teacher`
/// is the shape of a teacher in this process that is another model than the student.
///
/// # Errors
/// A run that does not fit however it is cut.
pub fn settle(
    plan: &Plan,
    student: &ModelSpec,
    teacher: Option<&ModelSpec>,
) -> Result<MemoryPlan, Box<DoesNotFit>> {
    let total = plan.memory.unwrap_or_else(|| MachineMemory::detect().total);
    let job = match &plan.job {
        Job::Rl(rl) => rl_job(plan, rl, student, teacher.unwrap_or(student)),
        Job::Sft(settings) => {
            let longest = settings.examples.max_tokens.min(student.context);
            let per_update = settings.examples.batch_size * longest;
            training(plan, student, (longest, per_update))
        }
    };
    MemoryPlan::settle(&job, MachineMemory { total }).map_err(Box::new)
}

fn training<'a>(plan: &Plan, spec: &'a ModelSpec, (longest, per_update): (usize, usize)) -> TrainingJob<'a> {
    let decoders = rayon::current_num_threads();
    let (frozen, sampled) = (Vec::new(), Vec::new());
    TrainingJob { spec, precision: plan.precision, frozen, longest, per_update, sampled, decoders }
}

fn rl_job<'a>(plan: &Plan, rl: &RlPlan, student: &'a ModelSpec, teacher: &'a ModelSpec) -> TrainingJob<'a> {
    let (rollout, guidance) = (&rl.settings.rollout, &rl.settings.guidance);
    let longest = (rollout.max_prompt_tokens + rollout.max_response_tokens).min(student.context);
    // a prompt that a group shares is one run of tokens
    let group = rollout.max_prompt_tokens + rollout.group_size * rollout.max_response_tokens;
    let mut job = training(plan, student, (longest, rl.settings.mini_batch_questions * group));
    job.sampled.push(Sampled {
        phase: "act",
        spec: student,
        prompt: rollout.max_prompt_tokens,
        completion: rollout.max_response_tokens,
        samples: rollout.questions_per_step * rollout.group_size,
    });
    if let Some(Help { teacher: place, .. }) = &rl.help
        && !matches!(place, Teacher::Remote { .. })
    {
        let gamma = guidance.gamma.start.max(guidance.gamma.end);
        let chosen = ((rollout.group_size as f64 * gamma).floor() as usize).max(1);
        job.frozen.push(FrozenShape {
            name: "teacher",
            spec: teacher,
            initial: matches!(place, Teacher::Initial),
        });
        job.sampled.push(Sampled {
            phase: "help",
            spec: teacher,
            prompt: guidance.max_teacher_prompt_tokens.min(teacher.context),
            completion: guidance.max_teacher_tokens,
            samples: rollout.questions_per_step * chosen,
        });
    }
    if rl.settings.loss.beta > 0.0 {
        job.frozen.push(FrozenShape { name: "reference", spec: student, initial: true });
    }
    job.sampled.extend(rl.held_out.iter().map(|set| Sampled {
        phase: "evaluate",
        spec: student,
        prompt: rollout.max_prompt_tokens,
        completion: set.max_tokens,
        samples: set.limit * set.samples,
    }));
    job
}
