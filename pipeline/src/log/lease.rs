//! Which of several nodes looks after tables in a bucket.

use super::LogError;
use super::store::Store;
use crate::clock::SECOND;
use crate::{Clock, Micros};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode};
use serde::{Deserialize, Serialize};

/// How long a lease holds, and from when on its holder renews it.
const HELD: Micros = 60 * SECOND;
const RENEWED: Micros = 30 * SECOND;

/// A right that one node has at a time, for a minute.
///
/// It is a sequence of numbered objects that are created and never changed, as create-if-absent is all
/// that a store is trusted with: the newest says who holds it until when, and who creates the next has
/// it. It only saves work. A compaction whose input another node has replaced fails at its commit, so
/// clocks that differ cost time and nothing else.
pub(crate) struct Lease {
    store: Store,
    dir: String,
    owner: String,
    clock: Clock,
    /// The newest that was seen.
    newest: Option<Term>,
}

/// One object.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Term {
    #[serde(skip)]
    number: u64,
    owner: String,
    /// In µs.
    until: Micros,
}

impl Lease {
    /// The lease `name` for a node that is called `owner`, which keeps its name over restarts.
    pub(crate) fn new(store: &Store, name: &str, owner: &str, clock: Clock) -> Self {
        let dir = format!("_lease/{name}");
        Self { store: store.clone(), dir, owner: owner.to_owned(), clock, newest: None }
    }

    /// Whether this node has it now; takes or renews it where that is due. A directory is this
    /// node's alone.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails; then nobody knows, and the node may not act.
    pub(crate) async fn hold(&mut self) -> Result<bool, LogError> {
        if !self.store.is_bucket() {
            return Ok(true);
        }
        let now = self.clock.now();
        if let Some(term) = &self.newest {
            let mine = term.owner == self.owner;
            if now < term.until - if mine { RENEWED } else { 0 } {
                return Ok(mine);
            }
        }
        let failed = |error| LogError::store(format!("the lease `{}` cannot be taken", self.dir), error);
        let newest = self.read(now).await.map_err(failed)?;
        let number = newest.as_ref().map_or(1, |term| term.number + 1);
        if let Some(term) = newest
            && term.owner != self.owner
            && now < term.until
        {
            self.newest = Some(term);
            return Ok(false);
        }
        let term = Term { number, owner: self.owner.clone(), until: now + HELD };
        let created = self.create(&term).await.map_err(failed)?;
        // Where another was first, or an answer was lost, the next look tells.
        self.newest = created.then_some(term);
        Ok(created)
    }

    async fn read(&self, now: Micros) -> object_store::Result<Option<Term>> {
        let mut listed = self.store.object_store.list(Some(&self.path("")));
        let mut newest = None;
        while let Some(found) = listed.try_next().await? {
            let number = found.location.filename().and_then(|name| name.parse::<u64>().ok());
            newest = newest.max(number);
        }
        let Some(number) = newest else { return Ok(None) };
        let bytes = match self.store.object_store.get(&self.path(&name(number))).await {
            Ok(found) => found.bytes().await?,
            // The next was made just now, by its holder or by another: the next look tells.
            Err(Error::NotFound { .. }) => {
                return Ok(Some(Term { number, owner: String::new(), until: now + SECOND }));
            }
            Err(error) => return Err(error),
        };
        // One that nobody can read is nobody's.
        let unread = Term { number, owner: String::new(), until: 0 };
        let term = serde_json::from_slice::<Term>(&bytes).map_or(unread, |term| Term { number, ..term });
        Ok(Some(Term { until: term.until.min(now + HELD), ..term }))
    }

    async fn create(&self, term: &Term) -> object_store::Result<bool> {
        let path = self.path(&name(term.number));
        let bytes = serde_json::to_vec(term)
            .map_err(|error| Error::Generic { store: "lease", source: error.into() })?;
        match self.store.object_store.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        if term.number > 1 {
            let before = self.path(&name(term.number - 1));
            if let Err(error) = self.store.object_store.delete(&before).await {
                tracing::debug!(%error, "an old term of a lease stays where it is");
            }
        }
        Ok(true)
    }

    fn path(&self, name: &str) -> Path {
        let root = self.store.root.path();
        Path::from(format!("{root}{}/{name}", self.dir))
    }
}

/// So that names sort as their numbers do.
fn name(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(store: &Store, owner: &str, clock: &Clock) -> Lease {
        Lease::new(store, "log", owner, clock.clone())
    }

    async fn bucket() -> (s3::Server, Store) {
        let server = s3::Server::start().unwrap();
        let access = [
            ("AWS_ENDPOINT_URL", server.endpoint()),
            ("AWS_REGION", s3::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY.to_owned()),
        ];
        let config = super::super::store::StoreConfig {
            url: url::Url::parse("s3://flowstate/a").unwrap(),
            access: access.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        };
        let store = Store::open(&config).await.unwrap();
        (server, store)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_node_holds_it_until_it_stops_renewing() {
        let (_server, store) = bucket().await;
        let clock = Clock::given(1_000_000 * SECOND);
        let (mut one, mut two) = (node(&store, "one", &clock), node(&store, "two", &clock));
        assert!(one.hold().await.unwrap());
        assert!(!two.hold().await.unwrap());
        for _ in 0..5 {
            clock.advance(40 * SECOND);
            assert!(one.hold().await.unwrap(), "it is renewed in time");
            assert!(!two.hold().await.unwrap());
        }
        clock.advance(61 * SECOND);
        assert!(two.hold().await.unwrap(), "nobody renewed it");
        assert!(!one.hold().await.unwrap(), "and the first learns of it");
        let mut again = node(&store, "two", &clock);
        assert!(again.hold().await.unwrap(), "after a restart it is still its own");
        let left = store.object_store.list(None).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(left.len(), 1, "old terms are deleted: {left:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_take_it_at_once_one_has_it() {
        let (_server, store) = bucket().await;
        let clock = Clock::given(1_000_000 * SECOND);
        for _ in 0..20 {
            let (mut one, mut two) = (node(&store, "one", &clock), node(&store, "two", &clock));
            let (one, two) = tokio::join!(one.hold(), two.hold());
            assert!(!(one.unwrap() && two.unwrap()), "both have it");
            clock.advance(61 * SECOND);
        }
    }
}
