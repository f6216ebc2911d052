//! Applies the objects of an app and removes those that left it. What will be there is written down
//! first, what is there last, so that whoever comes after a crash finishes what was begun.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gnomon_schemas::app::Revision;
use serde_json::Value;
use tokio::time::Instant;

use super::calls::{self, Manner};
use super::inventory::{Phase, Record, Ref, Target, comes_first, rank};
use super::wishes::Wish;
use super::{Manifests, fields, record, seen, witness, write};
use crate::orchestrator::k3s::files::next_mend;
use crate::orchestrator::k3s::observe::text;
use crate::orchestrator::k3s::{ANSWER, K3s, K3sError, WORK, names};
use crate::reconcile::model::Slot;

/// How long a kind may take to be served after its definition is established, and how often that is asked.
const SERVED: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(500);

/// A wish, and what there is to do for it.
struct Task {
    wish: Wish,
    /// `None`: it is as wished already, with these own fields.
    todo: Option<Todo>,
    fields: String,
}

struct Todo {
    /// What is wrong with it; `None`: it is only another wish than before.
    repairs: Option<String>,
    /// Somebody took a field of it that was ours.
    force: bool,
}

/// Makes the cluster have the objects, and not those that the slot had before.
pub(super) async fn all(
    k3s: &K3s,
    slot: &Slot,
    digest: Revision,
    wishes: Vec<Wish>,
) -> Result<(), K3sError> {
    let node = &k3s.settings.node;
    let fresh = Record::new(node, slot, digest);
    let before = record(k3s, &fresh.name, slot).await?;
    let is_same = before.as_ref().is_some_and(|it| it.digest == digest);
    let is_whole = is_same && before.as_ref().is_some_and(|it| it.phase == Phase::Applied);
    let before = if let Some(before) = before {
        before
    } else {
        // Nobody has written down what it has, or somebody removed that.
        let targets = wishes.iter().map(|it| it.of.target.clone()).collect();
        let refs = witness::of_app(k3s, &slot.app, &targets).await?;
        Record { refs, ..fresh.clone() }
    };
    see(k3s, &before.targets()).await?;
    let mut tasks = Vec::new();
    for wish in wishes {
        tasks.push(task(k3s, &before, wish, is_whole).await?);
    }
    let mut record = Record { digest, phase: Phase::Applying, ..before.clone() };
    if is_whole {
        record.mended = mend(&before, &tasks)?.or(record.mended);
    }
    let names: Vec<Ref> = tasks.iter().map(Task::to_ref).collect();
    let surplus = before.surplus(&names);
    if is_whole && surplus.is_empty() && tasks.iter().all(|it| it.todo.is_none()) {
        return Ok(());
    }
    if !is_same {
        rehearse(k3s, &tasks).await?;
    }
    record.refs = names.into_iter().chain(surplus.iter().cloned()).collect();
    write(k3s, &record).await?;
    carry_out(k3s, &mut tasks).await?;
    prune(k3s, &record, &surplus, Duration::ZERO).await?;
    record.refs = tasks.iter().map(Task::to_ref).collect();
    record.phase = Phase::Applied;
    write(k3s, &record).await
}

impl Task {
    /// The object as it is written down: as applied only when it is.
    fn to_ref(&self) -> Ref {
        let mut of = self.wish.of.clone();
        if self.todo.is_some() {
            of.wanted.clear();
        }
        Ref { fields: self.fields.clone(), ..of }
    }
}

async fn see(k3s: &K3s, targets: &BTreeSet<Target>) -> Result<(), K3sError> {
    let Manifests { sights, .. } = &*k3s.manifests;
    sights.follow(k3s, targets);
    sights.clear(ANSWER, targets).await
}

/// What there is to do for a wish; an object of somebody else's is an error.
async fn task(k3s: &K3s, before: &Record, wish: Wish, is_whole: bool) -> Result<Task, K3sError> {
    let known = before.refs.iter().find(|it| it.is_same(&wish.of));
    let kept = known.and_then(|known| k3s.manifests.sights.find(known));
    let own = names::manifest_labels(&k3s.settings.node, &before.slot.app);
    let own = own.get(names::APP).map(String::as_str);
    let Some((known, kept)) = known.zip(kept).filter(|(_, kept)| seen::app(kept) == own) else {
        let found = if wish.is_own_kind && known.is_none() && !is_whole {
            calls::look(k3s, &wish.of).await.or_else(not_served)?
        } else {
            calls::look(k3s, &wish.of).await?
        };
        let is_ours =
            |it: &Value| names::app_label(it) == own || (known.is_some() && fields::is_known(it));
        if found.as_ref().is_some_and(|it| !is_ours(it)) {
            return Err(K3sError::Foreign(wish.of.label()));
        }
        let repairs = known.map(|known| format!("{} was removed", known.label()));
        let todo = Some(Todo { repairs, force: false });
        return Ok(Task { wish, todo, fields: String::new() });
    };
    let is_altered = !known.fields.is_empty() && seen::is_altered(known, &kept);
    let is_wished = is_whole || (!known.wanted.is_empty() && known.wanted == wish.of.wanted);
    if is_wished && !is_altered && !known.fields.is_empty() {
        return Ok(Task { fields: known.fields.clone(), wish, todo: None });
    }
    let what = text(&kept, "/by").unwrap_or_default();
    let repairs = is_altered.then(|| format!("{}: {what}", known.label()));
    Ok(Task { wish, todo: Some(Todo { repairs, force: is_altered }), fields: String::new() })
}

/// A kind that the app brings itself is not there at first.
fn not_served(error: K3sError) -> Result<Option<Value>, K3sError> {
    if error.code() == Some(404) { Ok(None) } else { Err(error) }
}

/// What is noted of repairs that are made now; who undoes them again and again is not fought.
fn mend(before: &Record, tasks: &[Task]) -> Result<Option<String>, K3sError> {
    let repairs = tasks.iter().find_map(|it| it.todo.as_ref()?.repairs.clone());
    let Some(what) = repairs else { return Ok(None) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let next = next_mend(before.mended.as_deref(), now);
    next.map(Some).ok_or(K3sError::Contested { what })
}

/// Asks whether all can be applied before anything is: an app that is refused changes nothing.
async fn rehearse(k3s: &K3s, tasks: &[Task]) -> Result<(), K3sError> {
    for Task { wish, todo, .. } in tasks {
        let Some(todo) = todo else { continue };
        let manner = Manner { force: todo.force, rehearse: true };
        match calls::apply(k3s, &wish.of, &wish.object, manner).await {
            Ok(_) => {}
            // Its namespace or its kind may come with the app.
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn carry_out(k3s: &K3s, tasks: &mut [Task]) -> Result<(), K3sError> {
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for task in tasks {
        if comes_first(&task.wish.of.target) { first.push(task) } else { others.push(task) }
    }
    let targets = |tasks: &[&mut Task]| {
        tasks.iter().map(|task| task.wish.of.target.clone()).collect::<BTreeSet<_>>()
    };
    see(k3s, &targets(&first)).await?;
    for task in &mut first {
        carry_out_one(k3s, task).await?;
    }
    for task in &first {
        until_current(k3s, &task.wish.of).await?;
    }
    see(k3s, &targets(&others)).await?;
    for task in &mut others {
        carry_out_one(k3s, task).await?;
    }
    Ok(())
}

async fn carry_out_one(k3s: &K3s, task: &mut Task) -> Result<(), K3sError> {
    let Some(todo) = &task.todo else { return Ok(()) };
    let Wish { of, object, .. } = &task.wish;
    let manner = Manner { force: todo.force, rehearse: false };
    let end = Instant::now() + SERVED;
    let made = loop {
        match calls::apply(k3s, of, object, manner).await {
            // What was defined just now is not known everywhere in the API server at once.
            Err(error)
                if task.wish.is_own_kind && error.code() == Some(404) && Instant::now() < end =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            made => break made?,
        }
    };
    k3s.manifests.sights.written(&of.target, &made);
    task.fields = fields::digest(&made);
    task.todo = None;
    Ok(())
}

/// Waits until a definition is established, or a namespace is there.
async fn until_current(k3s: &K3s, of: &Ref) -> Result<(), K3sError> {
    let mut why = None;
    let is_current = k3s.manifests.sights.until(WORK, |shelves| {
        let kept = shelves.get(&of.target)?.get(&of.name)?;
        why = seen::lacks(kept).map(str::to_owned);
        why.is_none().then_some(())
    });
    is_current.await.ok_or_else(|| K3sError::NotReady {
        what: of.label(),
        why: why.unwrap_or_else(|| "it is not seen".to_owned()),
    })
}

/// Removes objects of an app, those first that were applied last, and waits until they are gone.
/// Claims stay, as the volumes of other apps do, and what says that it does.
pub(super) async fn prune(
    k3s: &K3s,
    record: &Record,
    refs: &[Ref],
    grace: Duration,
) -> Result<(), K3sError> {
    let targets = refs.iter().map(|it| it.target.clone()).collect();
    see(k3s, &targets).await?;
    let own = names::manifest_labels(&k3s.settings.node, &record.slot.app);
    let own = own.get(names::APP).map(String::as_str);
    for group in refs.chunk_by(|one, other| rank(&one.target) == rank(&other.target)) {
        let mut leaving = Vec::new();
        for of in group {
            let Some(kept) = k3s.manifests.sights.find(of) else { continue };
            if seen::app(&kept) != own || stays(of, &kept) {
                continue;
            }
            let uid = text(&kept, "/metadata/uid").unwrap_or_default();
            calls::delete(k3s, of, uid).await?;
            leaving.push((of, uid.to_owned()));
        }
        until_gone(k3s, &leaving, grace).await?;
    }
    Ok(())
}

async fn until_gone(
    k3s: &K3s,
    leaving: &[(&Ref, String)],
    grace: Duration,
) -> Result<(), K3sError> {
    let mut left = None;
    let gone = k3s.manifests.sights.until(WORK + grace, |shelves| {
        let is_there = |of: &Ref, uid: &str| {
            let found = shelves.get(&of.target).and_then(|shelf| shelf.get(&of.name));
            found.is_some_and(|it| text(it, "/metadata/uid") == Some(uid))
        };
        left = leaving.iter().find(|(of, uid)| is_there(of, uid)).map(|(of, _)| of.label());
        left.is_none().then_some(())
    });
    gone.await.ok_or_else(|| K3sError::NotGone(left.unwrap_or_default()))
}

fn stays(of: &Ref, kept: &Value) -> bool {
    of.target.kind_and_group() == "PersistentVolumeClaim"
        || kept.get("kept") == Some(&Value::Bool(true))
}
