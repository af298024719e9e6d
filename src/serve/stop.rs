//! The end: SIGTERM or SIGINT finish what is under way, a second one ends at once.

use actix_web::dev::Server;
use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The signals that end the server.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Takes the signals from here on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Runs the server until a signal comes and its requests are finished. `end` turns true with the
    /// signal, for answers that would go on for ever.
    pub(crate) async fn wait(mut self, server: Server, end: watch::Sender<bool>) -> anyhow::Result<()> {
        let handle = server.handle();
        let mut running = tokio::spawn(server);
        tokio::select! {
            ended = &mut running => {
                ended.context("the HTTP server broke down")?.context("the HTTP server failed")?;
                anyhow::bail!("the HTTP server ended by itself")
            }
            () = self.next() => {}
        }
        end.send_replace(true);
        tracing::info!("stopping: requests under way are finished; a second signal ends at once");
        tokio::spawn(async move {
            self.next().await;
            eprintln!("ended at once; what was accepted is in the write-ahead log");
            std::process::exit(i32::from(crate::FAILED));
        });
        handle.stop(true).await;
        running.await.context("the HTTP server broke down")?.context("the HTTP server failed")
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
