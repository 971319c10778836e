//! The teacher: requests side by side, replies in order.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::Value;
use thinktune_method::MethodError;
use thinktune_method::help::prompts::PromptSet;
use thinktune_method::help::teacher::{NoReply, Reply, Request, Teacher};
use thinktune_method::settings::RlSettings;
use thinktune_policy::{GenerateProgress, SampleKey, Tokenizer};
use thinktune_runlog::RunError;

use crate::cache::Cache;
use crate::client::Client;
use crate::request::{Drawing, Prompt, body, endpoint};
use crate::settings::RemoteSettings;

/// Requests in a row given up for good before the rest of a round is not even tried: a server that is down would
/// otherwise cost its retries for every single one.
const HOPELESS: usize = 4;

/// A model behind a server.
pub struct RemoteTeacher {
    settings: RemoteSettings,
    client: Client,
    prompts: PromptSet,
    drawing: Drawing,
    /// Where prompts are made here.
    tokenizer: Option<Box<dyn Tokenizer>>,
    cache: Cache,
}

/// A request not in the cache.
struct Open {
    index: usize,
    name: String,
    body: Value,
    key: SampleKey,
}

impl RemoteTeacher {
    /// A teacher that is shown `prompts`, samples as `settings` say, and keeps its replies at `cache`. `tokenizer` makes
    /// the prompts where the server does not; `key` is the API key.
    ///
    /// # Errors
    /// The cache cannot be opened.
    pub fn new(
        remote: RemoteSettings,
        key: Option<String>,
        prompts: PromptSet,
        settings: &RlSettings,
        tokenizer: Option<Box<dyn Tokenizer>>,
        cache: &Path,
    ) -> Result<Self, MethodError> {
        let guidance = &settings.guidance;
        let drawing = Drawing {
            seed: settings.seed,
            temperature: guidance.teacher_temperature,
            max_tokens: guidance.max_teacher_tokens,
            max_prompt_tokens: guidance.max_teacher_prompt_tokens,
        };
        let client = Client::new(&remote, key, drawing.clone());
        let cache = Cache::open(cache)?;
        Ok(Self { settings: remote, client, prompts, drawing, tokenizer, cache })
    }

    /// The body that asks for a request; none where its prompt is known to be too long.
    fn body(&self, request: &Request) -> Result<Option<Value>, MethodError> {
        let messages = self.prompts.messages(&request.question, &request.response);
        let prompt = match &self.tokenizer {
            None => Prompt::Chat(messages),
            Some(tokenizer) => {
                let ids = tokenizer.prompt_ids(&messages)?;
                if ids.len() > self.drawing.max_prompt_tokens {
                    return Ok(None);
                }
                Prompt::Ids(ids)
            }
        };
        Ok(Some(body(&self.settings, &self.drawing, &prompt, request.key)))
    }
}

impl Teacher for RemoteTeacher {
    fn replies(
        &mut self,
        requests: &[Request],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Reply>, MethodError> {
        let mut replies: Vec<Option<Reply>> = Vec::with_capacity(requests.len());
        let mut open = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let Some(body) = self.body(request)? else {
                replies.push(Some(Reply::PromptTooLong));
                continue;
            };
            let name = Cache::name(endpoint(self.settings.api), &body);
            let known = self.cache.get(&name);
            if known.is_none() {
                open.push(Open { index, name, body, key: request.key });
            }
            replies.push(known);
        }
        let mut so_far = GenerateProgress {
            finished: replies.iter().flatten().count(),
            total: requests.len(),
            tokens: replies.iter().flatten().map(Reply::tokens).sum(),
        };
        let mut new = Vec::with_capacity(open.len());
        // kept as they come: a run killed in the middle of a round does not ask for them again
        let Self { client, cache, settings, .. } = self;
        let asked = ask(client, settings.concurrency, &open, &mut |request, reply| {
            cache.put(&request.name, &reply)?;
            so_far.finished += 1;
            so_far.tokens += reply.tokens();
            new.push((request.index, reply));
            progress(so_far);
            Ok(())
        });
        asked?;
        for (index, reply) in new {
            replies[index] = Some(reply);
        }
        let missing = || Reply::Missing(NoReply::Unreachable);
        Ok(replies.into_iter().map(|reply| reply.unwrap_or_else(missing)).collect())
    }
}

/// Asks for all that is open, so many at a time; tells each reply as it comes.
fn ask(
    client: &Client,
    concurrency: usize,
    open: &[Open],
    heard: &mut dyn FnMut(&Open, Reply) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let hopeless = HOPELESS.max(concurrency);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..concurrency.min(open.len()) {
            let (sender, next, failed) = (sender.clone(), &next, &failed);
            scope.spawn(move || {
                let mut last = NoReply::Unreachable;
                while let Some(request) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let reply = if failed.load(Ordering::Relaxed) >= hopeless {
                        Reply::Missing(last)
                    } else {
                        client.ask(&request.body, request.key)
                    };
                    match reply {
                        // this one was refused; the server is well
                        Reply::Missing(NoReply::Refused) => {}
                        Reply::Missing(why) => {
                            last = why;
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => failed.store(0, Ordering::Relaxed),
                    }
                    if sender.send((request, reply)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        receiver.iter().try_for_each(|(request, reply)| heard(request, reply))
    })
}
