//! The bucket's objects, and what S3 does with them.

use crate::faults::{Operation, Shared};
use crate::{BUCKET, REGION};
use bytes::Bytes;
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Keys in one page of a list; a tenth of S3's, so that tests meet several pages.
const PAGE: i32 = 100;

pub(crate) struct Bucket {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    uploads: HashMap<String, BTreeMap<i32, Bytes>>,
    /// Makes entity tags and upload ids unlike each other.
    count: u64,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    modified: SystemTime,
    tag: String,
}

impl Bucket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Mutex::default() }
    }

    async fn enter(&self, bucket: &str, operation: Operation) -> S3Result<()> {
        self.shared.before(operation).await?;
        if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an object; with `create`, only where there is none.
    fn store(&self, key: String, bytes: Bytes, create: bool) -> S3Result<String> {
        let mut state = self.lock();
        if create && !self.shared.lies() && state.objects.contains_key(&key) {
            return Err(s3_error!(PreconditionFailed));
        }
        state.count += 1;
        let tag = format!("{:032x}", state.count);
        state.objects.insert(key, Stored { bytes, modified: now(), tag: tag.clone() });
        Ok(tag)
    }

    fn find(&self, key: &str) -> S3Result<Stored> {
        self.lock().objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

#[expect(clippy::disallowed_methods, reason = "the objects of a test are as old as they are")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The whole body. It is read before any answer: a client that still sends would take an early
/// answer for that to its next request.
async fn read(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let parts: Vec<Bytes> = body.try_collect().await.map_err(|error| s3_error!(IncompleteBody, "{error}"))?;
    Ok(parts.concat().into())
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = read(input.body).await?;
        self.enter(&input.bucket, Operation::Put).await?;
        let create = matches!(input.if_none_match, Some(ETagCondition::Any));
        let tag = self.store(input.key, bytes, create)?;
        self.shared.after_put()?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(tag)), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        self.enter(&input.bucket, Operation::Get).await?;
        let found = self.find(&input.key)?;
        let size = found.bytes.len() as u64;
        let (bytes, content_range) = match input.range {
            None => (found.bytes, None),
            Some(range) => {
                let range = range.check(size).map_err(|_| s3_error!(InvalidRange))?;
                let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (found.bytes.slice(range.start as usize..range.end as usize), Some(told))
            }
        };
        let length = bytes.len() as i64;
        let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes)]);
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            content_length: Some(length),
            content_range,
            e_tag: Some(ETag::Strong(found.tag)),
            last_modified: Some(found.modified.into()),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        self.enter(&input.bucket, Operation::Get).await?;
        let found = self.find(&input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(found.bytes.len() as i64),
            e_tag: Some(ETag::Strong(found.tag)),
            last_modified: Some(found.modified.into()),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.enter(&request.input.bucket, Operation::Delete).await?;
        self.lock().objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.enter(&request.input.bucket, Operation::Delete).await?;
        let mut state = self.lock();
        let deleted = request.input.delete.objects.into_iter().map(|object| {
            state.objects.remove(&object.key);
            DeletedObject { key: Some(object.key), ..Default::default() }
        });
        let deleted = Some(deleted.collect());
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.enter(&input.bucket, Operation::List).await?;
        let prefix = input.prefix.unwrap_or_default();
        let page = input.max_keys.unwrap_or(PAGE).clamp(1, PAGE) as usize;
        let from = input.continuation_token.clone().or(input.start_after).unwrap_or_default();
        let mut listed = Listed { contents: Vec::new(), prefixes: BTreeSet::new(), last: None };
        let mut more = false;
        let start = if from < prefix { Bound::Included(&*prefix) } else { Bound::Excluded(&*from) };
        for (key, object) in self.lock().objects.range::<str, _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            if listed.contents.len() + listed.prefixes.len() == page {
                more = !listed.covers(key);
                if more {
                    break;
                }
            }
            listed.add(key, rest, object, input.delimiter.as_deref());
        }
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some((listed.contents.len() + listed.prefixes.len()) as i32),
            next_continuation_token: listed.last.filter(|_| more),
            is_truncated: Some(more),
            contents: Some(listed.contents),
            common_prefixes: Some(
                listed.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect(),
            ),
            name: Some(input.bucket),
            prefix: Some(prefix),
            delimiter: input.delimiter,
            ..Default::default()
        }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.enter(&request.input.bucket, Operation::List).await?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(REGION.into()), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.enter(&input.bucket, Operation::Put).await?;
        let mut state = self.lock();
        state.count += 1;
        let id = state.count.to_string();
        state.uploads.insert(id.clone(), BTreeMap::new());
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = read(input.body).await?;
        self.enter(&input.bucket, Operation::Put).await?;
        let tag = format!("{}-{}", input.upload_id, input.part_number);
        let mut state = self.lock();
        let parts = state.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        parts.insert(input.part_number, bytes);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(tag)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        self.enter(&input.bucket, Operation::Put).await?;
        let parts = self.lock().uploads.remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let bytes = parts.into_values().collect::<Vec<_>>().concat().into();
        let create = matches!(input.if_none_match, Some(ETagCondition::Any));
        let tag = self.store(input.key.clone(), bytes, create)?;
        self.shared.after_put()?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(tag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.enter(&request.input.bucket, Operation::Put).await?;
        self.lock().uploads.remove(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// One page of a list.
struct Listed {
    contents: Vec<Object>,
    prefixes: BTreeSet<String>,
    last: Option<String>,
}

impl Listed {
    fn add(&mut self, key: &str, rest: &str, object: &Stored, delimiter: Option<&str>) {
        self.last = Some(key.to_owned());
        let end = delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        if let Some(end) = end {
            self.prefixes.insert(key[..key.len() - rest.len() + end].to_owned());
            return;
        }
        self.contents.push(Object {
            key: Some(key.to_owned()),
            size: Some(object.bytes.len() as i64),
            last_modified: Some(object.modified.into()),
            e_tag: Some(ETag::Strong(object.tag.clone())),
            ..Default::default()
        });
    }

    /// Whether a key is below a prefix that was listed already.
    fn covers(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}
