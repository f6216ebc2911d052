//! The one thread that owns the store. Commits that wait together become one commit.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Contents, Op, Store, StoreError};

/// The most changes that are put into one commit of several callers.
const GROUP: usize = 256;

/// The most requests that may wait.
const QUEUE: usize = 64;

/// Asks the store's thread; the thread ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct StoreHandle(mpsc::Sender<Request>);

#[derive(Debug)]
enum Request {
    Load(oneshot::Sender<Result<Contents, StoreError>>),
    Commit(Vec<Op>, Answer),
}

type Answer = oneshot::Sender<Result<(), StoreError>>;

impl StoreHandle {
    /// Hands `store` over to a thread of its own.
    pub fn spawn(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(store, receiver))
            .map_err(|source| StoreError::io("starting the store's thread", source))?;
        Ok(Self(sender))
    }

    /// Everything that is stored.
    pub async fn load(&self) -> Result<Contents, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Load(answer)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits `ops`; see [`Store::commit`].
    pub async fn commit(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Commit(ops, answer)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn ask(&self, request: Request) -> Result<(), StoreError> {
        self.0.send(request).await.map_err(|_| StoreError::Closed)
    }
}

fn serve(mut store: Box<dyn Store>, mut requests: mpsc::Receiver<Request>) {
    let mut held = None;
    while let Some(request) = held.take().or_else(|| requests.blocking_recv()) {
        match request {
            Request::Load(answer) => drop(answer.send(load(&mut *store))),
            Request::Commit(mut ops, answer) => {
                let mut answers = vec![answer];
                while ops.len() < GROUP {
                    match requests.try_recv() {
                        Ok(Request::Commit(more, answer)) => {
                            ops.extend(more);
                            answers.push(answer);
                        }
                        Ok(other @ Request::Load(..)) => {
                            held = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                answer_all(store.commit(&ops), answers);
            }
        }
    }
}

fn load(store: &mut dyn Store) -> Result<Contents, StoreError> {
    let went_back = store.went_back()?;
    let mut entries = Vec::new();
    store.scan(b"", &mut |key, value| entries.push((key.to_vec(), value.to_vec())))?;
    Ok(Contents { entries, went_back })
}

/// The first caller gets the error itself, the others its text.
fn answer_all(result: Result<(), StoreError>, answers: Vec<Answer>) {
    let mut result = Some(result);
    let text = match &result {
        Some(Err(error)) => Some((error.is_full(), error.to_string())),
        Some(Ok(())) | None => None,
    };
    for answer in answers {
        let own = result.take().unwrap_or_else(|| match &text {
            None => Ok(()),
            Some((true, place)) => Err(StoreError::Full { place: place.clone() }),
            Some((false, text)) => Err(StoreError::Poisoned(text.clone())),
        });
        drop(answer.send(own));
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryDisk;
    use super::*;

    #[tokio::test]
    async fn many_callers_commit_and_all_of_it_is_there() {
        let disk = MemoryDisk::new();
        let store = StoreHandle::spawn(Box::new(disk.open())).unwrap();
        let callers = (0..50u8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(vec![(vec![n], Some(vec![n]))]).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(store.load().await.unwrap().entries.len(), 50);
        assert!(disk.commits() <= 50);
    }

    #[tokio::test]
    async fn a_full_store_is_told_to_every_caller() {
        let disk = MemoryDisk::new();
        disk.set_full(true);
        let store = StoreHandle::spawn(Box::new(disk.open())).unwrap();
        let (first, second) = tokio::join!(
            store.commit(vec![(vec![1], Some(vec![1]))]),
            store.commit(vec![(vec![2], Some(vec![2]))])
        );
        assert!(first.unwrap_err().is_full());
        assert!(second.unwrap_err().is_full());
        assert_eq!(store.load().await.unwrap(), Contents::default());
    }
}
