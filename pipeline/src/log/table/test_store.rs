//! Stores that count or break what is asked of them, for tests.

/// Implements `ObjectStore` for a wrapper whose field `0` is the store, with a `put` of its own.
macro_rules! delegate {
    ($name:ident, put = |$store:ident : &$ty:ty, $path:ident, $payload:ident, $opts:ident| $put:expr) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
        #[async_trait::async_trait]
        impl object_store::ObjectStore for $name {
            async fn put_opts(
                &self,
                $path: &object_store::path::Path,
                $payload: object_store::PutPayload,
                $opts: object_store::PutOptions,
            ) -> object_store::Result<object_store::PutResult> {
                let $store: &$ty = self;
                $put
            }
            async fn put_multipart_opts(
                &self,
                location: &object_store::path::Path,
                opts: object_store::PutMultipartOptions,
            ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
                self.0.put_multipart_opts(location, opts).await
            }
            async fn get_opts(
                &self,
                location: &object_store::path::Path,
                options: object_store::GetOptions,
            ) -> object_store::Result<object_store::GetResult> {
                self.0.get_opts(location, options).await
            }
            fn delete_stream(
                &self,
                locations: futures::stream::BoxStream<
                    'static,
                    object_store::Result<object_store::path::Path>,
                >,
            ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
                self.0.delete_stream(locations)
            }
            fn list(
                &self,
                prefix: Option<&object_store::path::Path>,
            ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
                self.0.list(prefix)
            }
            async fn list_with_delimiter(
                &self,
                prefix: Option<&object_store::path::Path>,
            ) -> object_store::Result<object_store::ListResult> {
                self.0.list_with_delimiter(prefix).await
            }
            async fn copy_opts(
                &self,
                from: &object_store::path::Path,
                to: &object_store::path::Path,
                options: object_store::CopyOptions,
            ) -> object_store::Result<()> {
                self.0.copy_opts(from, to, options).await
            }
        }
    };
}
pub(crate) use delegate;
