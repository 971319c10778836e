//! `thinktune generate`: completions of a text or of a user's message.

use serde_json::{Value, json};
use thinktune_model::FrozenModel;
use thinktune_policy::{Completion, Finish, Generate, Message, Prompt, SampleKey, Sampling, Stream};
use thinktune_text::ChatTokenizer;

use crate::args::{Common, GenerateArgs};
use crate::commands::print;
use crate::failure::UsageError;
use crate::model_source::ModelSource;

/// Samples and prints.
pub fn run(args: &GenerateArgs, common: Common) -> anyhow::Result<()> {
    let sampling = sampling(args)?;
    let dir = ModelSource::named(&args.model)?.fetch(common.offline)?;
    let tokenizer = ChatTokenizer::load(&dir, &args.date)?;
    let tokens = prompt_tokens(args, &tokenizer)?;
    let mut model = FrozenModel::load(&dir, args.device, args.precision.into())?;
    tokenizer.check_vocab(model.spec().vocab_size)?;
    let key = |sample| SampleKey { stream: Stream::Generate, step: 0, question: 0, sample };
    let prompt = Prompt { tokens: tokens.clone().into(), keys: (0..args.samples).map(key).collect() };
    let sampling = Sampling { stop: tokenizer.stop().to_vec(), ..sampling };
    let completions = model.generate(&[prompt], &sampling, &mut |_| {})?.concat();
    if args.json {
        return print(&to_json(&tokenizer, &tokens, &completions).to_string());
    }
    for (i, completion) in completions.iter().enumerate() {
        if completions.len() > 1 {
            print(&format!("{}--- sample {}", if i == 0 { "" } else { "\n" }, i + 1))?;
        }
        print(&tokenizer.decode(&completion.tokens))?;
    }
    Ok(())
}

/// Sampling as the flags say, checked before a model is loaded.
fn sampling(args: &GenerateArgs) -> Result<Sampling, UsageError> {
    let sampling = Sampling {
        seed: args.seed,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        max_tokens: args.max_tokens,
        stop: Vec::new(),
    };
    sampling.check_ranges().map_err(|error| {
        let flag = error.name.replace('_', "-");
        UsageError(format!("--{flag} {}: expected {}", error.value, error.expected))
    })?;
    Ok(sampling)
}

/// A message goes through the chat template; a text gets the model's BOS in front unless it spells it out.
fn prompt_tokens(args: &GenerateArgs, tokenizer: &ChatTokenizer) -> anyhow::Result<Vec<u32>> {
    if let Some(message) = &args.chat {
        return Ok(tokenizer.prompt_ids(&[Message::user(message.as_str())])?);
    }
    let text = tokenizer.encode(args.prompt.as_deref().unwrap_or_default());
    let bos = tokenizer.bos().filter(|bos| text.first() != Some(bos));
    let tokens: Vec<u32> = bos.into_iter().chain(text).collect();
    if tokens.is_empty() {
        return Err(
            UsageError("--prompt is empty and the model has no BOS token: give it a text".into()).into()
        );
    }
    Ok(tokens)
}

fn to_json(tokenizer: &ChatTokenizer, prompt: &[u32], completions: &[Completion]) -> Value {
    let completion = |completion: &Completion| {
        json!({
            "text": tokenizer.decode(&completion.tokens),
            "tokens": completion.tokens,
            "logprobs": completion.logprobs,
            "finish": match completion.finish { Finish::Stop => "stop", Finish::Length => "length" },
        })
    };
    json!({
        "prompt": tokenizer.decode_raw(prompt),
        "prompt_tokens": prompt,
        "completions": completions.iter().map(completion).collect::<Vec<_>>(),
    })
}
