//! The HTTP server: ingest, the management API, and what machines ask for.

mod machines;
mod metered;
mod request_id;

use crate::settings::Settings;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig, route};
use actix_web::{App, HttpServer};
use anyhow::Context;
use console::Console;
use ingest::Ingest;
pub(super) use metered::recorder as metrics_recorder;
use metrics_exporter_prometheus::PrometheusHandle;
use pipeline::log::Log;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::TcpSocket;

/// How long requests under way may take to finish at the end, in seconds.
const SHUTDOWN_S: u64 = 25;
/// How long a connection may wait for its next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What the server serves.
#[derive(Clone)]
pub(super) struct Rooms {
    pub(super) ingest: Data<Ingest>,
    pub(super) console: Data<Console>,
    pub(super) log: Data<Log>,
    pub(super) wal_bytes_max: u64,
    pub(super) metrics: Data<PrometheusHandle>,
}

/// The addresses of the settings, taken but not served yet.
pub(super) struct Listening {
    first: TcpListener,
    /// A server of HTTPS also takes a free port on the loopback, for the commands on this machine:
    /// its certificate would not name that address.
    local: Option<TcpListener>,
    tls: Option<rustls::ServerConfig>,
    /// Where clients find the server.
    pub(super) url: String,
    /// Where commands on this machine find it, in plain HTTP.
    pub(super) local_url: String,
}

/// Takes the addresses, so that a port that is in use is known before anything is written.
pub(super) fn listen(settings: &Settings, tls: Option<rustls::ServerConfig>) -> anyhow::Result<Listening> {
    let wanted = settings.listen;
    let first =
        bind(wanted).with_context(|| format!("`listen` is `{wanted}`, and this address cannot be taken"))?;
    let local = match tls {
        None => None,
        Some(_) => Some(bind((Ipv4Addr::LOCALHOST, 0).into()).context("no port is free on the loopback")?),
    };
    let address = first.local_addr()?;
    let local_address = match &local {
        Some(local) => local.local_addr()?,
        None => on_this_machine(address),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    Ok(Listening { first, local, tls, url, local_url: format!("http://{local_address}") })
}

/// A server that answers as soon as it is polled.
pub(super) fn serve(listening: Listening, rooms: Rooms) -> anyhow::Result<Server> {
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let server = HttpServer::new(move || {
        let rooms = rooms.clone();
        let rooms = move |config: &mut ServiceConfig| {
            ingest::configure(config, rooms.ingest);
            console::configure(config, rooms.console);
            machines::configure(config, rooms.log, rooms.wal_bytes_max, rooms.metrics);
        };
        App::new()
            .wrap(from_fn(request_id::identify))
            .configure(rooms)
            .default_service(route().to(ingest::unknown_path))
    })
    .workers(workers)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIMEOUT)
    .shutdown_timeout(SHUTDOWN_S)
    .disable_signals();
    let server = match listening.tls {
        None => server.listen(listening.first)?,
        Some(tls) => server.listen_rustls_0_23(listening.first, tls)?,
    };
    let server = match listening.local {
        None => server,
        Some(local) => server.listen(local)?,
    };
    Ok(server.run())
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart takes the port over from connections of the last process that are still closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// An address to connect to, for one that only says where to listen.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str) -> Settings {
        Settings::load(None, [], &[("listen", listen.to_owned())]).unwrap()
    }

    #[tokio::test]
    async fn port_0_takes_a_free_port_and_says_which() {
        let listening = listen(&settings("127.0.0.1:0"), None).unwrap();
        let address = listening.first.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(listening.url, format!("http://{address}"));
        assert_eq!(listening.local_url, listening.url);
        let taken = listen(&settings(&address.to_string()), None).map(|_| ()).unwrap_err();
        assert!(taken.to_string().contains(&format!("`{address}`")), "{taken}");
    }

    #[tokio::test]
    async fn commands_on_this_machine_get_an_address_that_they_can_use() {
        let everywhere = listen(&settings("0.0.0.0:0"), None).unwrap();
        let port = everywhere.first.local_addr().unwrap().port();
        assert_eq!(everywhere.local_url, format!("http://127.0.0.1:{port}"));
    }
}
