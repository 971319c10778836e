//! Requests to the server, and the reading of its answers.

use serde_json::{Value, json};
use thinktune_policy::rng::SampleRng;
use thinktune_policy::{Message, NoReply, SampleKey, TeacherReply, TeacherSampling};

use crate::settings::{Api, RemoteSettings};

/// The prompt of a request.
pub(crate) enum Prompt {
    /// For the server's chat template.
    Chat(Vec<Message>),
    /// Put through the template here.
    Ids(Vec<u32>),
}

/// The endpoint, below the API's base.
pub(crate) fn endpoint(api: Api) -> &'static str {
    match api {
        Api::Chat => "chat/completions",
        Api::Completions => "completions",
    }
}

/// The body of a request.
pub(crate) fn body(
    settings: &RemoteSettings,
    sampling: &TeacherSampling,
    prompt: &Prompt,
    key: SampleKey,
) -> Value {
    // a shortest decimal, so that 0.7 is sent as 0.7
    let shortest = |number: f32| number.to_string().parse::<f64>().unwrap_or(1.0);
    let mut body = json!({
        "model": settings.model,
        "max_tokens": sampling.max_tokens,
        "temperature": shortest(sampling.temperature),
        "seed": plain_seed(sampling.seed, key),
    });
    if sampling.top_p < 1.0 {
        body["top_p"] = json!(shortest(sampling.top_p));
    }
    match prompt {
        Prompt::Chat(messages) => body["messages"] = json!(messages),
        Prompt::Ids(ids) => body["prompt"] = json!(ids),
    }
    if settings.extension {
        body["thinktune"] = json!({
            "key": [key.stream.number(), key.step, key.question, key.sample],
            "seed": sampling.seed,
            "max_prompt_tokens": sampling.max_prompt_tokens,
        });
    }
    body
}

/// A seed of its own for each request, small enough for every server.
fn plain_seed(seed: u64, key: SampleKey) -> u32 {
    SampleRng::new(seed, key).words(u32::MAX)[0] >> 1
}

/// Reads an answer with status 200.
pub(crate) fn read_answer(answer: &Value, sampling: &TeacherSampling) -> Result<TeacherReply, NoReply> {
    let bad = NoReply::BadAnswer;
    let choice = answer.get("choices").and_then(|choices| choices.get(0)).ok_or(bad)?;
    let prompt_tokens = answer["usage"]["prompt_tokens"].as_u64();
    if prompt_tokens.is_some_and(|tokens| tokens > sampling.max_prompt_tokens as u64) {
        return Ok(TeacherReply::PromptTooLong);
    }
    let extension = choice.get("thinktune");
    let raw = extension.and_then(|extension| extension["text"].as_str());
    let said = choice["message"]["content"].as_str().or_else(|| choice["text"].as_str());
    let text = raw.or(said).ok_or(bad)?.to_owned();
    let ids = extension.and_then(|extension| extension["tokens"].as_array()).map(|ids| ids.len() as u64);
    let tokens = ids.or_else(|| answer["usage"]["completion_tokens"].as_u64()).unwrap_or(0) as usize;
    if tokens > sampling.max_tokens {
        return Err(bad);
    }
    match choice["finish_reason"].as_str() {
        Some("stop" | "eos") => Ok(TeacherReply::Ended { text, tokens }),
        Some("length") => Ok(TeacherReply::Truncated { text, tokens }),
        _ => Err(bad),
    }
}

/// Returns true where a refusal says that the prompt is too long.
pub(crate) fn says_too_long(text: &str) -> bool {
    let text = text.to_lowercase();
    let signs = [
        "context_length",
        "context length",
        "maximum context",
        "context size",
        "too long",
        "too many tokens",
    ];
    signs.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use thinktune_policy::Stream;
    use thinktune_settings::{Section, Values};

    use super::*;

    const KEY: SampleKey = SampleKey { stream: Stream::Teacher, step: 2, question: 3, sample: 4 };

    fn sampling() -> TeacherSampling {
        TeacherSampling { seed: 9, temperature: 0.7, top_p: 1.0, max_tokens: 8, max_prompt_tokens: 100 }
    }

    fn settings(extension: bool) -> RemoteSettings {
        let mut values = Values::default();
        values.set("guidance.teacher.url", "http://x/v1".into());
        values.set("guidance.teacher.model", "m".into());
        values.set("guidance.teacher.extension", extension.into());
        RemoteSettings::read(&mut values).unwrap()
    }

    #[test]
    fn a_request_names_its_random_numbers() {
        let prompt = Prompt::Chat(vec![Message::user("a")]);
        let found = body(&settings(true), &sampling(), &prompt, KEY);
        assert_eq!(found["temperature"].to_string(), "0.7");
        assert_eq!(found["thinktune"]["key"], json!([1, 2, 3, 4]));
        assert_eq!(found["messages"], json!([{ "role": "user", "content": "a" }]));
        let other = body(&settings(true), &sampling(), &prompt, SampleKey { sample: 5, ..KEY });
        assert_ne!(found["seed"], other["seed"]);
        assert!(found["seed"].as_u64().unwrap() < 1 << 31);
        let plain = body(&settings(false), &sampling(), &Prompt::Ids(vec![1, 2]), KEY);
        assert_eq!((plain.get("thinktune"), &plain["prompt"]), (None, &json!([1, 2])));
        assert_eq!(plain.get("top_p"), None, "what is off is not sent");
        let narrow = TeacherSampling { top_p: 0.9, ..sampling() };
        assert_eq!(body(&settings(false), &narrow, &Prompt::Ids(vec![1]), KEY)["top_p"], json!(0.9));
    }

    #[test]
    fn only_whole_answers_are_replies() {
        let read = |answer: Value| read_answer(&answer, &sampling());
        let answer = |content: Value, finish: Value| {
            json!({ "choices": [{ "message": { "content": content }, "finish_reason": finish }],
                    "usage": { "prompt_tokens": 5, "completion_tokens": 3 } })
        };
        let ended = TeacherReply::Ended { text: "a".into(), tokens: 3 };
        assert_eq!(read(answer("a".into(), "stop".into())), Ok(ended));
        let cut = TeacherReply::Truncated { text: "a".into(), tokens: 3 };
        assert_eq!(read(answer("a".into(), "length".into())), Ok(cut));
        for bad in [
            json!(null),
            json!([]),
            json!({ "choices": [] }),
            json!({ "choices": "a" }),
            json!({ "error": { "message": "x" } }),
            answer(Value::Null, "stop".into()),
            answer(7.into(), "stop".into()),
            answer("a".into(), Value::Null),
            answer("a".into(), "content_filter".into()),
            json!({ "choices": [{ "text": "a", "finish_reason": "stop" }], "usage": { "completion_tokens": 900 } }),
        ] {
            assert_eq!(read(bad.clone()), Err(NoReply::BadAnswer), "{bad}");
        }
        let mut long = answer("a".into(), "stop".into());
        long["usage"]["prompt_tokens"] = 101.into();
        assert_eq!(read(long), Ok(TeacherReply::PromptTooLong));
        let mut ours = answer("a".into(), "stop".into());
        ours["choices"][0]["thinktune"] = json!({ "tokens": [5, 6], "text": "<b>a" });
        assert_eq!(read(ours), Ok(TeacherReply::Ended { text: "<b>a".into(), tokens: 2 }));
    }
}
