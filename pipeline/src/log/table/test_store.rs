//! A store that counts what is asked of it and breaks it on demand, for tests.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put,
    Get,
    List,
    Delete,
    Copy,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// Nothing is done, and an error is answered.
    Fails,
    /// It is done, but an error is answered. Puts only.
    LosesAnswer,
    /// It never ends. Gets only.
    Hangs,
    /// A put overwrites what is there, whatever was asked.
    Overwrites,
}

/// A store whose operations are decided about by a function.
pub(crate) struct TestStore<F> {
    inner: Arc<dyn ObjectStore>,
    decide: Arc<F>,
}

impl<F: Fn(Operation, &Path) -> Fate + Send + Sync + 'static> TestStore<F> {
    pub(crate) fn over(inner: Arc<dyn ObjectStore>, decide: F) -> Arc<dyn ObjectStore> {
        Arc::new(Self { inner, decide: Arc::new(decide) })
    }

    fn decide(&self, operation: Operation, path: &Path) -> Result<Fate> {
        match (self.decide)(operation, path) {
            Fate::Fails => Err(broken()),
            fate => Ok(fate),
        }
    }
}

fn broken() -> Error {
    Error::Generic { store: "TestStore", source: "broken on purpose".into() }
}

impl<F> std::fmt::Display for TestStore<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestStore")
    }
}

impl<F> std::fmt::Debug for TestStore<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestStore")
    }
}

#[async_trait::async_trait]
impl<F: Fn(Operation, &Path) -> Fate + Send + Sync + 'static> ObjectStore for TestStore<F> {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        let fate = self.decide(Operation::Put, path)?;
        if fate == Fate::Overwrites {
            opts.mode = PutMode::Overwrite;
        }
        let result = self.inner.put_opts(path, payload, opts).await?;
        if fate == Fate::LosesAnswer { Err(broken()) } else { Ok(result) }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.decide(Operation::Put, path)?;
        self.inner.put_multipart_opts(path, opts).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if self.decide(Operation::Get, path)? == Fate::Hangs {
            std::future::pending::<()>().await;
        }
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let decide = Arc::clone(&self.decide);
        let paths = paths.map(move |path| {
            let path = path?;
            if decide(Operation::Delete, &path) == Fate::Fails { Err(broken()) } else { Ok(path) }
        });
        self.inner.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.decide(Operation::List, prefix.unwrap_or(&Path::default())) {
            Ok(_) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.decide(Operation::List, prefix.unwrap_or(&Path::default()))?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.decide(Operation::Copy, to)?;
        self.inner.copy_opts(from, to, options).await
    }
}
