//! Who calls, by the token that is shown; and the one way to change the book of tokens, so that it
//! says in memory what the store says. Decides nothing: [`crate::access`] does.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::access::{ACCESS, Asker, Book, BookRefusal, Edit, Grant, Limiter, RateLimits, TooMuch};
use crate::clock::{self, Clock};
use crate::core::{CoreHandle, Deed, Refusal};
use crate::domain::Author;
use crate::identity::{AdminToken, TokenHash, TokenKey};
use crate::rows::ReadRowError;
use crate::store::{Op, Store, StoreError};

/// Knows who calls; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    key: TokenKey,
    /// The token of whoever owns the machine, in a file.
    owner: Option<AdminToken>,
    /// The token of the commands of this machine, which only copy the store.
    local: AdminToken,
    // A lock, because every request looks into what changes now and then; held for one look.
    book: RwLock<Book>,
    /// Whoever changes the book holds this from the plan to the end.
    turn: Arc<Mutex<()>>,
    core: CoreHandle,
    refusal_noted_s: AtomicU64,
    clock: Clock,
    // A lock, because every request counts; held for one look.
    limiter: Lock<Limiter>,
    /// Changes when a token is revoked.
    revoked: watch::Sender<()>,
    /// How many streams each has open, and may have. A lock, held for one look.
    streams: Lock<BTreeMap<Asker, usize>>,
    most_streams: usize,
}

/// One of the streams that a caller has open, until this is dropped.
#[derive(Debug)]
pub struct Place(Option<(Gate, Asker)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((gate, asker)) = self.0.take() else { return };
        let mut streams = gate.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get_mut(&asker) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(streams.remove(&asker)),
        }
    }
}

/// Somebody whose token was recognized.
#[derive(Debug, Clone)]
pub struct Principal {
    /// What it is called in the history and the audit log.
    pub author: Author,
    /// What it may.
    pub grant: Grant,
    /// Whether it is a command of this machine, which copies the store and nothing else.
    pub is_local: bool,
    /// The id of its token, if that is one of the book.
    pub token: Option<String>,
}

impl Principal {
    /// As whom it is counted; `None`: whoever may everything is not held up, since it could lift
    /// the limits anyway.
    pub fn asker(&self) -> Option<Asker> {
        let token = self.token.as_ref().filter(|_| self.grant != Grant::owner());
        token.map(|id| Asker::Token(id.clone()))
    }
}

/// Why the book could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenBookError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is malformed.
    #[error("the store's list of tokens cannot be read; {}", crate::store::WAY_BACK)]
    Row(#[from] ReadRowError),
}

/// Why the book was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The book refuses.
    #[error(transparent)]
    Book(#[from] BookRefusal),
    /// The core refuses, or the store failed.
    #[error(transparent)]
    Core(#[from] Refusal),
}

/// Reads the book.
pub fn read_book(store: &dyn Store) -> Result<Book, OpenBookError> {
    Ok(Book::read(store.scan(ACCESS)?)?)
}

impl Gate {
    /// A gate with this book.
    pub fn new(
        book: Book,
        key: TokenKey,
        owner: Option<AdminToken>,
        local: AdminToken,
        core: CoreHandle,
        rates: RateLimits,
        most_streams: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            key,
            owner,
            local,
            book: RwLock::new(book),
            turn: Arc::new(Mutex::new(())),
            core,
            refusal_noted_s: AtomicU64::new(0),
            clock: Clock::start(),
            limiter: Lock::new(Limiter::new(rates)),
            revoked: watch::Sender::new(()),
            streams: Lock::default(),
            most_streams,
        }))
    }

    /// Counts a request of somebody, and refuses it where that is too much.
    pub fn count(&self, asker: &Asker) -> Result<(), TooMuch> {
        let now = self.0.clock.now().moment;
        self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner).ask(asker, now)
    }

    /// Counts what a request of somebody has brought.
    pub fn count_bytes(&self, asker: &Asker, bytes: usize) {
        let (now, bytes) = (self.0.clock.now().moment, u64::try_from(bytes).unwrap_or(u64::MAX));
        self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner).spend(asker, now, bytes);
    }

    /// Counts a stream of somebody; `None`: it has as many as it may.
    pub fn open_stream(&self, asker: Option<Asker>) -> Option<Place> {
        let Some(asker) = asker else { return Some(Place(None)) };
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let count = streams.entry(asker.clone()).or_default();
        if *count >= self.0.most_streams {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), asker))))
    }

    /// Returns when a token is good for nothing any more: revoked, or out of date.
    pub async fn until_void(self, token: Option<String>) {
        /// So that a clock that was set is followed.
        const LONGEST: Duration = Duration::from_mins(1);
        let Some(id) = token else { return std::future::pending().await };
        let mut revoked = self.0.revoked.subscribe();
        loop {
            revoked.borrow_and_update();
            let Some(left) = self.book().left_of(&id, clock::unix_ms()) else { return };
            let wait = Duration::from_millis(left).min(LONGEST);
            drop(tokio::time::timeout(wait, revoked.changed()).await);
        }
    }

    /// Whether a refusal may go into the audit log: at most one a second, so that nobody who may
    /// not write keeps the disk busy.
    pub fn may_note_refusal(&self) -> bool {
        let now_s = clock::since_1970().as_secs();
        self.0.refusal_noted_s.swap(now_s, Ordering::Relaxed) != now_s
    }

    /// The fingerprint of a token.
    pub fn hash(&self, token: &str) -> TokenHash {
        self.0.key.hash(token)
    }

    /// The book, for a look.
    pub fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.0.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who shows this token.
    pub fn who(&self, token: &str) -> Option<Principal> {
        let owner = |name: &str, is_local| Principal {
            author: Author::new(name),
            grant: Grant::owner(),
            is_local,
            token: None,
        };
        if self.0.owner.as_ref().is_some_and(|owner| owner.is(token)) {
            return Some(owner("admin", false));
        }
        if self.0.local.is(token) {
            return Some(owner("local", true));
        }
        let (hash, now_ms) = (self.hash(token), clock::unix_ms());
        let book = self.book();
        let found = book.token_of(hash, now_ms)?;
        let is_first = book.use_token(&found.id, now_ms).is_some();
        let author = Author::new(&format!("token/{}", found.id)).within(&found.grant.scope);
        let (grant, id) = (found.grant.clone(), found.id.clone());
        drop(book);
        if is_first {
            drop(tokio::spawn(self.clone().note_use(id.clone())));
        }
        Some(Principal { author, grant, is_local: false, token: Some(id) })
    }

    /// Notes that a token was used, so that those that nobody uses can be told.
    async fn note_use(self, id: String) {
        let noted = self.change(|book, now_ms| {
            Ok::<_, BookRefusal>(((), book.use_token(&id, now_ms).into_iter().collect(), None))
        });
        if let Err(error) = noted.await {
            tracing::debug!(%error, "the use of a token was not noted");
        }
    }

    /// Plans a change of the book, writes it, and makes it.
    pub async fn change<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&Book, u64) -> Result<(T, Vec<Edit>, Option<Deed>), BookRefusal>,
    ) -> Result<T, ChangeError> {
        let core = self.0.core.clone();
        let plan = |book: &Book, now_ms: u64| {
            let (answer, edits, deed) = plan(book, now_ms)?;
            Ok(((answer, deed), edits))
        };
        let act = |(answer, deed): (T, Option<Deed>), ops: Vec<Op>| async move {
            if !ops.is_empty() || deed.is_some() {
                core.keep(ops, deed).await?;
            }
            Ok(answer)
        };
        self.change_with(plan, act).await
    }

    /// Plans a change of the book, has `act` write it together with something else, and makes it.
    /// From the plan on it goes on although the caller may go away: else the book in memory could
    /// stay behind the store.
    pub async fn change_with<P, T, F>(
        &self,
        plan: impl FnOnce(&Book, u64) -> Result<(P, Vec<Edit>), BookRefusal>,
        act: impl FnOnce(P, Vec<Op>) -> F,
    ) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let (planned, edits) = plan(&self.book(), clock::unix_ms())?;
        let acting = act(planned, edits.iter().map(Edit::op).collect());
        let gate = self.clone();
        let task = tokio::spawn(async move {
            let done = acting.await;
            if done.is_ok() {
                gate.apply(edits);
            }
            drop(turn);
            done
        });
        match task.await {
            Ok(done) => Ok(done?),
            Err(error) => {
                tracing::error!(%error, "a change of the tokens ended by a panic");
                Err(Refusal::StoreFailed.into())
            }
        }
    }

    fn apply(&self, edits: Vec<Edit>) {
        let takes_away = edits.iter().any(|edit| matches!(edit, Edit::NoToken(_)));
        let mut book = self.0.book.write().unwrap_or_else(PoisonError::into_inner);
        for edit in edits {
            book.apply(edit);
        }
        drop(book);
        if takes_away {
            self.0.revoked.send_replace(());
        }
    }
}
