//! `thinktune generate`: completions of a text or of a user's message.

use serde_json::{Value, json};
use thinktune_model::FrozenModel;
use thinktune_policy::{Completion, Finish, Generate, Message, Prompt, SampleKey, Sampling, Stream};
use thinktune_text::ChatTokenizer;

use crate::args::{Common, GenerateArgs};
use crate::commands::print;
use crate::failure::UsageError;
use crate::place;

/// Samples and prints.
pub fn run(args: &GenerateArgs, common: Common) -> anyhow::Result<()> {
    check(args)?;
    let dir = place::named(&args.model)?.fetch(common.offline)?;
    let codec = ChatTokenizer::load(&dir, &args.date)?;
    let tokens = prompt_tokens(args, &codec)?;
    let mut model = FrozenModel::load(&dir, args.device, args.precision.into())?;
    codec.check_vocab(model.spec().vocab_size)?;
    let key = |sample| SampleKey { stream: Stream::Generate, step: 0, question: 0, sample };
    let prompt = Prompt { tokens: tokens.clone().into(), keys: (0..args.samples).map(key).collect() };
    let sampling = Sampling {
        seed: args.seed,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        max_tokens: args.max_tokens,
        stop: codec.stop().to_vec(),
    };
    let completions = model.generate(&[prompt], &sampling, &mut |_| {})?.concat();
    if args.json {
        return print(&to_json(&codec, &tokens, &completions).to_string());
    }
    for (i, completion) in completions.iter().enumerate() {
        if completions.len() > 1 {
            print(&format!("{}--- sample {}", if i == 0 { "" } else { "\n" }, i + 1))?;
        }
        print(&codec.decode(&completion.tokens))?;
    }
    Ok(())
}

fn check(args: &GenerateArgs) -> Result<(), UsageError> {
    let GenerateArgs { temperature, top_p, min_p, .. } = *args;
    let wrong = [
        (
            "--temperature",
            temperature.to_string(),
            temperature >= 0.0 && temperature.is_finite(),
            "0 or a positive number",
        ),
        ("--top-k", format!("{:?}", args.top_k), args.top_k != Some(0), "at least 1"),
        ("--top-p", top_p.to_string(), top_p > 0.0 && top_p <= 1.0, "in (0, 1]"),
        ("--min-p", min_p.to_string(), (0.0..1.0).contains(&min_p), "in [0, 1)"),
        ("--max-tokens", args.max_tokens.to_string(), args.max_tokens > 0, "at least 1"),
    ];
    match wrong.into_iter().find(|(_, _, ok, _)| !ok) {
        Some((flag, value, _, expected)) => Err(UsageError(format!("{flag} {value}: expected {expected}"))),
        None => Ok(()),
    }
}

/// A message goes through the chat template; a text gets the model's BOS in front unless it spells it out.
fn prompt_tokens(args: &GenerateArgs, codec: &ChatTokenizer) -> anyhow::Result<Vec<u32>> {
    if let Some(message) = &args.chat {
        return Ok(codec.prompt_ids(&[Message::user(message.as_str())])?);
    }
    let text = codec.encode(args.prompt.as_deref().unwrap_or_default());
    let bos = codec.bos().filter(|bos| text.first() != Some(bos));
    let tokens: Vec<u32> = bos.into_iter().chain(text).collect();
    if tokens.is_empty() {
        return Err(
            UsageError("--prompt is empty and the model has no BOS token: give it a text".into()).into()
        );
    }
    Ok(tokens)
}

fn to_json(codec: &ChatTokenizer, prompt: &[u32], completions: &[Completion]) -> Value {
    let completion = |completion: &Completion| {
        json!({
            "text": codec.decode(&completion.tokens),
            "tokens": completion.tokens,
            "logprobs": completion.logprobs,
            "finish": match completion.finish { Finish::Stop => "stop", Finish::Length => "length" },
        })
    };
    json!({
        "prompt": codec.decode_raw(prompt),
        "prompt_tokens": prompt,
        "completions": completions.iter().map(completion).collect::<Vec<_>>(),
    })
}
