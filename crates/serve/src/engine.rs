//! The thread that runs the model, and the channel between it and the network's threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use thinktune_policy::{BatchEvent, BatchRequest, Batcher, ModelError, Ticket};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// An event of one prompt of a submission, with the prompt's index; an error ends the submission.
pub(crate) type EngineEvent = Result<(usize, BatchEvent), ModelError>;

enum EngineCommand {
    Submit { id: u64, prompts: Vec<BatchRequest>, events: UnboundedSender<EngineEvent> },
    EndSample { id: u64, prompt: usize, sample: usize },
    Cancel { id: u64 },
}

/// The network's end of the channel.
#[derive(Clone)]
pub(crate) struct EngineClient {
    commands: mpsc::Sender<EngineCommand>,
    next_id: Arc<AtomicU64>,
}

/// The engine's end of the channel.
pub(crate) struct Commands(mpsc::Receiver<EngineCommand>);

/// Prompts submitted together, and the events that come back. Dropping it frees their rows.
pub(crate) struct Submission {
    id: u64,
    engine: EngineClient,
    events: UnboundedReceiver<EngineEvent>,
    _permit: OwnedSemaphorePermit,
}

impl EngineClient {
    /// Makes both ends; the second is for [`run`].
    pub(crate) fn new() -> (Self, Commands) {
        let (sender, receiver) = mpsc::channel();
        (Self { commands: sender, next_id: Arc::default() }, Commands(receiver))
    }

    /// Submits prompts; `permit` is held until the submission is dropped.
    pub(crate) fn submit(&self, prompts: Vec<BatchRequest>, permit: OwnedSemaphorePermit) -> Submission {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = unbounded_channel();
        // an engine that has ended drops `sender`, so the receiver of the events sees their end
        let _ = self.commands.send(EngineCommand::Submit { id, prompts, events: sender });
        Submission { id, engine: self.clone(), events, _permit: permit }
    }
}

impl Submission {
    /// Number of the submission, counted from the start of the server.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The next event; none once the engine has ended.
    pub(crate) async fn next(&mut self) -> Option<EngineEvent> {
        self.events.recv().await
    }

    /// Ends one sample of a prompt.
    pub(crate) fn end_sample(&self, prompt: usize, sample: usize) {
        let _ = self.engine.commands.send(EngineCommand::EndSample { id: self.id, prompt, sample });
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        let _ = self.engine.commands.send(EngineCommand::Cancel { id: self.id });
    }
}

/// Decodes until every sender of commands is gone.
pub(crate) fn run(batcher: &mut dyn Batcher, commands: &Commands) {
    let mut engine = EngineLoop { batcher, submissions: BTreeMap::new(), owners: BTreeMap::new() };
    loop {
        if engine.batcher.is_idle() {
            match commands.0.recv() {
                Ok(command) => engine.handle(command),
                Err(mpsc::RecvError) => return,
            }
        }
        while let Ok(command) = commands.0.try_recv() {
            engine.handle(command);
        }
        engine.step();
    }
}

/// Submissions under way.
struct EngineLoop<'b> {
    batcher: &'b mut dyn Batcher,
    submissions: BTreeMap<u64, (Vec<Ticket>, UnboundedSender<EngineEvent>)>,
    /// Submission and index of the prompt behind each ticket.
    owners: BTreeMap<Ticket, (u64, usize)>,
}

impl EngineLoop<'_> {
    fn handle(&mut self, command: EngineCommand) {
        match command {
            EngineCommand::Submit { id, prompts, events } => self.submit(id, prompts, events),
            EngineCommand::EndSample { id, prompt, sample } => {
                if let Some(ticket) = self.submissions.get(&id).and_then(|(tickets, _)| tickets.get(prompt)) {
                    self.batcher.cancel_sample(*ticket, sample);
                }
            }
            EngineCommand::Cancel { id } => self.cancel(id),
        }
    }

    fn submit(&mut self, id: u64, prompts: Vec<BatchRequest>, events: UnboundedSender<EngineEvent>) {
        let mut tickets = Vec::with_capacity(prompts.len());
        for (prompt, request) in prompts.into_iter().enumerate() {
            match self.batcher.submit(request) {
                Ok(ticket) => {
                    self.owners.insert(ticket, (id, prompt));
                    tickets.push(ticket);
                }
                Err(error) => {
                    let _ = events.send(Err(error));
                    self.submissions.insert(id, (tickets, events));
                    return self.cancel(id);
                }
            }
        }
        self.submissions.insert(id, (tickets, events));
    }

    fn step(&mut self) {
        let Self { batcher, submissions, owners } = self;
        batcher.step(&mut |ticket, event| {
            let Some(&(id, prompt)) = owners.get(&ticket) else { return };
            if let Some((_, events)) = submissions.get(&id) {
                // a receiver that is gone sends a cancel of its own
                let _ = events.send(Ok((prompt, event)));
            }
        });
    }

    fn cancel(&mut self, id: u64) {
        let Some((tickets, _)) = self.submissions.remove(&id) else { return };
        for ticket in tickets {
            self.owners.remove(&ticket);
            self.batcher.cancel(ticket);
        }
    }
}
