//! The HTTP server: ingest, the management API, and what machines ask for.

mod machines;

use crate::settings::Settings;
use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context;
use console::Console;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pipeline::log::Log;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long requests under way may take to finish at the end, in seconds.
const SHUTDOWN_S: u64 = 25;
/// How long a connection may wait for its next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server serves.
#[derive(Clone)]
pub(super) struct Rooms {
    pub(super) ingest: (),
    pub(super) console: Data<Console>,
    pub(super) log: Data<Log>,
    pub(super) metrics: Data<PrometheusHandle>,
}

/// A server that accepts connections, and answers as soon as `running` is polled.
pub(super) struct Bound {
    pub(super) running: Server,
    /// Where clients find it.
    pub(super) url: String,
    /// Where commands on this machine find it, in plain HTTP.
    pub(super) local_url: String,
}

/// Binds the addresses of the settings. A server of HTTPS also takes a free port on the loopback for
/// the commands on this machine, whose certificate would not name that address.
pub(super) fn bind(
    settings: &Settings,
    rooms: Rooms,
    tls: Option<rustls::ServerConfig>,
) -> anyhow::Result<Bound> {
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let server = HttpServer::new(move || {
        let rooms = rooms.clone();
        App::new().configure(move |config| {
            let () = rooms.ingest;
            console::configure(config, rooms.console);
            machines::configure(config, rooms.log, rooms.metrics);
        })
    })
    .workers(workers)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIMEOUT)
    .shutdown_timeout(SHUTDOWN_S)
    .disable_signals();

    let listen = settings.listen;
    let failed = || format!("`listen` is `{listen}`, and this address cannot be taken");
    let (server, scheme) = match tls {
        None => (server.bind(listen).with_context(failed)?, "http"),
        Some(tls) => {
            let server = server.bind_rustls_0_23(listen, tls).with_context(failed)?;
            (server.bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free on the loopback")?, "https")
        }
    };
    let bound = server.addrs();
    let first = *bound.first().context("no address was bound")?;
    let local = bound.get(1).copied().unwrap_or_else(|| on_this_machine(first));
    Ok(Bound {
        running: server.run(),
        url: format!("{scheme}://{first}"),
        local_url: format!("http://{local}"),
    })
}

/// Metrics are recorded from here on.
pub(super) fn metrics_recorder() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("the metrics cannot be recorded")
}

/// An address to connect to, for one that only says where to listen.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        address => address,
    }
}
