//! An S3 server for tests: the real protocol and signatures by `s3s`, objects in memory, and faults
//! on demand.
//!
//! It keeps S3's promises that the log needs: reads and lists see every finished write, and of
//! several creates of one object exactly one wins. [`Faults`] takes them away again.

mod bucket;
mod faults;

pub use faults::{Faults, Operation};

use bucket::Bucket;
use faults::Shared;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The one bucket.
pub const BUCKET: &str = "flowstate";
/// Its region.
pub const REGION: &str = "eu-central-1";
/// Who may use it.
pub const ACCESS_KEY: &str = "test-access-key";
/// And with which secret.
pub const SECRET_KEY: &str = "test-secret-key";

/// A running server; dropping it ends it, and its objects are gone.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a free port of this machine, on a thread of its own.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut builder = S3ServiceBuilder::new(Bucket::new(Arc::clone(&shared)));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("s3".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, service) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.change(change);
    }

    /// How many requests of this kind it was sent, those that failed included.
    pub fn requests(&self, operation: Operation) -> u64 {
        self.shared.requests(operation)
    }

    /// The URL to reach it at.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the server shows in the test that missed its answer.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let listener = TcpListener::from_std(listener).expect("it does not block");
    while let Ok((stream, _)) = listener.accept().await {
        // Without it, answers wait for the client's delayed acknowledgements.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
