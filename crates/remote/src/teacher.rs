//! The teacher: requests side by side, replies in order.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::Value;
use thinktune_policy::{
    GenerateProgress, Message, ModelError, NoReply, SampleKey, Teacher, TeacherError, TeacherReply,
    TeacherRequest, TeacherSampling, Tokenizer,
};

use crate::cache::Cache;
use crate::client::Client;
use crate::request::{Prompt, body, endpoint};
use crate::settings::RemoteSettings;

/// Requests in a row given up for good before the rest of a round is not even tried: a server that is down would
/// otherwise cost its retries for every single one.
const HOPELESS: usize = 4;

/// The conversation that asks about an attempt.
pub type MessagesOf = Box<dyn Fn(&TeacherRequest) -> Vec<Message>>;

/// What a teacher is shown.
pub struct Prompts {
    /// The conversation that asks about an attempt.
    pub messages: MessagesOf,
    /// The beginning of the reply, from which the teacher continues. Only prompts that are made here can hold it.
    pub prefill: String,
    /// True where the prompts ask for a section before the opinion in which the work is checked.
    pub checks_first: bool,
    /// Tokenizer of prompts that are made here; none where the server makes them.
    pub tokenizer: Option<Box<dyn Tokenizer>>,
}

/// A model behind a server.
pub struct RemoteTeacher {
    settings: RemoteSettings,
    client: Client,
    prompts: Prompts,
    sampling: TeacherSampling,
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
    /// A teacher that is shown `prompts`, samples as `sampling` says, and keeps its replies at `cache`. `key` is the API
    /// key.
    ///
    /// # Errors
    /// The cache cannot be opened.
    pub fn new(
        remote: RemoteSettings,
        key: Option<String>,
        prompts: Prompts,
        sampling: TeacherSampling,
        cache: &Path,
    ) -> Result<Self, TeacherError> {
        let client = Client::new(&remote, key, sampling.clone());
        let cache = Cache::open(cache)?;
        Ok(Self { settings: remote, client, prompts, sampling, cache })
    }

    /// The body that asks for a request; none where its prompt is known to be too long.
    fn body(&self, request: &TeacherRequest) -> Result<Option<Value>, ModelError> {
        let messages = (self.prompts.messages)(request);
        let prompt = match &self.prompts.tokenizer {
            None => Prompt::Chat(messages),
            Some(tokenizer) => {
                let mut ids = tokenizer.prompt_ids(&messages)?;
                ids.extend(tokenizer.encode(&self.prompts.prefill));
                if ids.len() > self.sampling.max_prompt_tokens {
                    return Ok(None);
                }
                Prompt::Ids(ids)
            }
        };
        Ok(Some(body(&self.settings, &self.sampling, &prompt, request.key)))
    }

    /// A reply with the beginning that it was continued from.
    fn with_prefill(&self, reply: TeacherReply) -> TeacherReply {
        let prefill = if self.prompts.tokenizer.is_some() { self.prompts.prefill.as_str() } else { "" };
        let whole = |text: String| format!("{prefill}{text}");
        match reply {
            TeacherReply::Ended { text, tokens } => TeacherReply::Ended { text: whole(text), tokens },
            TeacherReply::Truncated { text, tokens } => TeacherReply::Truncated { text: whole(text), tokens },
            none => none,
        }
    }
}

impl Teacher for RemoteTeacher {
    fn replies(
        &mut self,
        requests: &[TeacherRequest],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<TeacherReply>, TeacherError> {
        let mut replies: Vec<Option<TeacherReply>> = Vec::with_capacity(requests.len());
        let mut open = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let Some(body) = self.body(request)? else {
                replies.push(Some(TeacherReply::PromptTooLong));
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
            tokens: replies.iter().flatten().map(TeacherReply::tokens).sum(),
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
        let missing = || TeacherReply::Missing(NoReply::Unreachable);
        let replies = replies.into_iter().map(|reply| reply.unwrap_or_else(missing));
        Ok(replies.map(|reply| self.with_prefill(reply)).collect())
    }

    fn checks_first(&self) -> bool {
        self.prompts.checks_first
    }
}

/// Asks for all that is open, so many at a time; tells each reply as it comes.
fn ask(
    client: &Client,
    concurrency: usize,
    open: &[Open],
    on_reply: &mut dyn FnMut(&Open, TeacherReply) -> Result<(), TeacherError>,
) -> Result<(), TeacherError> {
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
                        TeacherReply::Missing(last)
                    } else {
                        client.ask(&request.body, request.key)
                    };
                    match reply {
                        // this one was refused; the server is well
                        TeacherReply::Missing(NoReply::Refused) => {}
                        TeacherReply::Missing(why) => {
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
        receiver.iter().try_for_each(|(request, reply)| on_reply(request, reply))
    })
}
