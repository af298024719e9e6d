//! A bucket as a store, whose errors say what to do.

use super::StoreConfig;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, RetryConfig,
    UploadPart,
};
use std::sync::Arc;
use std::time::Duration;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// A request is tried again for this long; then whoever asked decides.
const RETRY_MAX: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 8;

/// A bucket of any S3-compatible store.
#[derive(Debug)]
pub(super) struct S3 {
    inner: AmazonS3,
    place: Arc<Place>,
}

/// Where the bucket is, for messages.
#[derive(Debug)]
struct Place {
    bucket: String,
    /// The objects below it, as a policy names them.
    resource: String,
    endpoint: Option<String>,
}

/// What is being done, and the permission it takes.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Writing,
    Reading,
    Listing,
    Deleting,
}

impl S3 {
    /// A bucket; no request is made yet.
    pub(super) fn new(config: &StoreConfig) -> Result<Self> {
        let bucket = config.url.host_str().unwrap_or_default().to_owned();
        let mut builder = AmazonS3Builder::new().with_bucket_name(&bucket);
        for (name, value) in &config.access {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
            .iter()
            .find_map(|key| builder.get_config_value(key));
        // Other hosts are asked without TLS only where `AWS_ALLOW_HTTP` says so.
        if endpoint.as_deref().is_some_and(is_loopback) {
            builder = builder.with_allow_http(true);
        }
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_MAX)
            .with_timeout(REQUEST_MAX)
            .with_allow_http(builder.get_config_value(&ALLOW_HTTP).is_some_and(|value| value == "true"));
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_MAX,
            backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        };
        // A connection lives on the runtime that opened it, and those that ask come and go.
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| Error::Generic { store: "S3", source: error.into() })?;
        let inner = builder
            .with_client_options(options)
            .with_retry(retry)
            .with_http_connector(SpawnedReqwestConnector::new(runtime))
            .build()?;
        let prefix = config.url.path().trim_matches('/');
        let resource = if prefix.is_empty() { format!("{bucket}/*") } else { format!("{bucket}/{prefix}/*") };
        Ok(Self { inner, place: Arc::new(Place { bucket, resource, endpoint }) })
    }

    fn explain(&self, doing: Doing) -> impl FnOnce(Error) -> Error {
        let place = Arc::clone(&self.place);
        move |error| place.explain(doing, error)
    }
}

const ALLOW_HTTP: AmazonS3ConfigKey = AmazonS3ConfigKey::Client(object_store::ClientConfigKey::AllowHttp);

/// Whether a URL names this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Doing {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Writing => ("written", "s3:PutObject"),
            Self::Reading => ("read", "s3:GetObject"),
            Self::Listing => ("listed", "s3:ListBucket"),
            Self::Deleting => ("deleted from", "s3:DeleteObject"),
        }
    }
}

impl Place {
    /// The same error, with what it means and what to do. Those that the log decides by stay as they are.
    fn explain(&self, doing: Doing, error: Error) -> Error {
        if matches!(
            error,
            Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. }
        ) {
            return error;
        }
        let text = chain(&error);
        let said = |code: &str| text.contains(code);
        if matches!(error, Error::NotFound { .. }) && !said("NoSuchBucket") {
            return error;
        }
        let (done, permission) = doing.words();
        let bucket = &self.bucket;
        let endpoint = self.endpoint.as_deref().unwrap_or("the default endpoint of its region");
        let what = if said("NoSuchBucket") {
            format!("there is no such bucket at {endpoint}; create it, or check its name and region")
        } else if said("SignatureDoesNotMatch") {
            "the secret key is wrong; check AWS_SECRET_ACCESS_KEY".to_owned()
        } else if said("InvalidAccessKeyId") || said("NotSignedUp") {
            "the access key is not known there; check AWS_ACCESS_KEY_ID and the endpoint".to_owned()
        } else if said("ExpiredToken") || said("TokenRefreshRequired") {
            "the session token has expired; renew AWS_SESSION_TOKEN".to_owned()
        } else if said("RequestTimeTooSkewed") {
            "this machine's clock differs from the store's by too much; set it".to_owned()
        } else if said("PermanentRedirect") || said("AuthorizationHeaderMalformed") || said("redirect") {
            "the bucket lies in another region; check AWS_REGION".to_owned()
        } else if said("AccessDenied") || said("403 Forbidden") || said("401 Unauthorized") {
            let resource = if matches!(doing, Doing::Listing) { bucket } else { &self.resource };
            format!("the credentials lack a permission; grant {permission} on arn:aws:s3:::{resource}")
        } else if said("metadata") && said("169.254") {
            "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
                .to_owned()
        } else if said("dns error") || said("tcp connect error") || said("timed out") {
            format!("{endpoint} cannot be reached; check AWS_ENDPOINT_URL, name resolution and the network")
        } else if said("SlowDown") || said("ServiceUnavailable") || said("InternalError") {
            "the store is overloaded or out of order; it is asked again".to_owned()
        } else {
            return error;
        };
        let message = format!("bucket `{bucket}` cannot be {done}: {what}");
        Error::Generic { store: "S3", source: Explained { message, source: error }.into() }
    }
}

/// An error with what it means.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Explained {
    message: String,
    #[source]
    source: Error,
}

/// An error and its causes, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl std::fmt::Display for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3({})", self.place.bucket)
    }
}

#[async_trait::async_trait]
impl ObjectStore for S3 {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(path, payload, opts).await.map_err(self.explain(Doing::Writing))
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(path, opts).await.map_err(self.explain(Doing::Writing))?;
        Ok(Box::new(Upload { inner, place: Arc::clone(&self.place) }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await.map_err(self.explain(Doing::Reading))
    }

    async fn get_ranges(&self, path: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(path, ranges).await.map_err(self.explain(Doing::Reading))
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let place = Arc::clone(&self.place);
        let deleted = self.inner.delete_stream(paths);
        deleted.map(move |one| one.map_err(|error| place.explain(Doing::Deleting, error))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let place = Arc::clone(&self.place);
        self.inner.list(prefix).map(move |one| one.map_err(|e| place.explain(Doing::Listing, e))).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let place = Arc::clone(&self.place);
        let listed = self.inner.list_with_offset(prefix, offset);
        listed.map(move |one| one.map_err(|error| place.explain(Doing::Listing, error))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(self.explain(Doing::Listing))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(self.explain(Doing::Writing))
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    place: Arc<Place>,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let place = Arc::clone(&self.place);
        let part = self.inner.put_part(data);
        part.map(move |done| done.map_err(|error| place.explain(Doing::Writing, error))).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await;
        done.map_err(|error| self.place.explain(Doing::Writing, error))
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await.map_err(|error| self.place.explain(Doing::Writing, error))
    }
}
