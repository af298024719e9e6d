//! A server in a thread of its own, so that any runtime can use it.

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, rt, web};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A running server; dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server with these routes on a free port of the loopback interface.
    pub(crate) fn start(
        routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (started, starts) = mpsc::channel();
        let thread = std::thread::Builder::new().name("fake-vendor".to_owned()).spawn(move || {
            rt::System::new().block_on(async move {
                let server = HttpServer::new(move || App::new().configure(routes.clone()))
                    .workers(1)
                    .disable_signals()
                    .bind((Ipv4Addr::LOCALHOST, 0))
                    .map(|server| (server.addrs()[0], server.run()));
                match server {
                    Ok((address, server)) => {
                        if started.send(Ok((address, server.handle()))).is_ok() {
                            let _ = server.await;
                        }
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
        let (address, handle) = starts.recv().map_err(io::Error::other)??;
        Ok(Self { address, handle, thread: Some(thread) })
    }

    /// Stops the server at once; requests under way get no answer.
    pub(crate) fn stop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
