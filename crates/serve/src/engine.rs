//! The thread that runs the model, and how the network's side talks to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use thinktune_policy::{BatchEvent, BatchRequest, Batcher, ModelError, Ticket};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the engine tells of one prompt of a job; an error ends the job.
pub(crate) type News = Result<(usize, BatchEvent), ModelError>;

enum Command {
    Submit { job: u64, parts: Vec<BatchRequest>, news: UnboundedSender<News> },
    EndSample { job: u64, part: usize, sample: usize },
    Cancel { job: u64 },
}

/// The network's end.
#[derive(Clone)]
pub(crate) struct Engine {
    commands: mpsc::Sender<Command>,
    next: Arc<AtomicU64>,
}

/// Prompts handed over together, and what comes back of them. Dropping it frees their rows.
pub(crate) struct Job {
    id: u64,
    engine: Engine,
    news: UnboundedReceiver<News>,
    _permit: OwnedSemaphorePermit,
}

impl Engine {
    /// Both ends; the second is for [`run`].
    pub(crate) fn new() -> (Self, Commands) {
        let (sender, receiver) = mpsc::channel();
        (Self { commands: sender, next: Arc::default() }, Commands(receiver))
    }

    /// Hands over prompts; `permit` is held until the job is dropped.
    pub(crate) fn submit(&self, parts: Vec<BatchRequest>, permit: OwnedSemaphorePermit) -> Job {
        let job = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, news) = unbounded_channel();
        // an engine that is gone closes `news`, which whoever waits for it reports
        let _ = self.commands.send(Command::Submit { job, parts, news: sender });
        Job { id: job, engine: self.clone(), news, _permit: permit }
    }
}

impl Job {
    /// Counts the jobs of a server.
    pub(crate) fn number(&self) -> u64 {
        self.id
    }

    /// What comes next; none once the engine has no more to say.
    pub(crate) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Ends one sample of a prompt.
    pub(crate) fn end_sample(&self, part: usize, sample: usize) {
        let _ = self.engine.commands.send(Command::EndSample { job: self.id, part, sample });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.engine.commands.send(Command::Cancel { job: self.id });
    }
}

/// The engine's end.
pub(crate) struct Commands(mpsc::Receiver<Command>);

/// Decodes until nobody can ask any more.
pub(crate) fn run(batcher: &mut dyn Batcher, commands: &Commands) {
    let mut room = Room { scheduler: batcher, jobs: BTreeMap::new(), whose: BTreeMap::new() };
    loop {
        if room.scheduler.is_idle() {
            match commands.0.recv() {
                Ok(command) => room.obey(command),
                Err(mpsc::RecvError) => return,
            }
        }
        while let Ok(command) = commands.0.try_recv() {
            room.obey(command);
        }
        room.step();
    }
}

/// Jobs under way.
struct Room<'b> {
    scheduler: &'b mut dyn Batcher,
    jobs: BTreeMap<u64, (Vec<Ticket>, UnboundedSender<News>)>,
    whose: BTreeMap<Ticket, (u64, usize)>,
}

impl Room<'_> {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit { job, parts, news } => self.submit(job, parts, news),
            Command::EndSample { job, part, sample } => {
                if let Some(ticket) = self.jobs.get(&job).and_then(|(tickets, _)| tickets.get(part)) {
                    self.scheduler.cancel_sample(*ticket, sample);
                }
            }
            Command::Cancel { job } => self.forget(job),
        }
    }

    fn submit(&mut self, job: u64, parts: Vec<BatchRequest>, news: UnboundedSender<News>) {
        let mut tickets = Vec::with_capacity(parts.len());
        for (part, request) in parts.into_iter().enumerate() {
            match self.scheduler.submit(request) {
                Ok(ticket) => {
                    self.whose.insert(ticket, (job, part));
                    tickets.push(ticket);
                }
                Err(error) => {
                    let _ = news.send(Err(error));
                    self.jobs.insert(job, (tickets, news));
                    return self.forget(job);
                }
            }
        }
        self.jobs.insert(job, (tickets, news));
    }

    fn step(&mut self) {
        let Self { scheduler, jobs, whose } = self;
        scheduler.step(&mut |ticket, event| {
            let Some(&(job, part)) = whose.get(&ticket) else { return };
            if let Some((_, news)) = jobs.get(&job) {
                // a listener that has gone cancels its job itself
                let _ = news.send(Ok((part, event)));
            }
        });
    }

    fn forget(&mut self, job: u64) {
        let Some((tickets, _)) = self.jobs.remove(&job) else { return };
        for ticket in tickets {
            self.whose.remove(&ticket);
            self.scheduler.cancel(ticket);
        }
    }
}
