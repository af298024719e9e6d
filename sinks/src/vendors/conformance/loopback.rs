//! The way out, bent to the fakes: nothing leaves the machine.

use async_trait::async_trait;
use pipeline::delivery::Class;
use pipeline::egress::{Answer, Http, HttpError, Request};
use std::net::SocketAddr;

/// An [`Http`] that sends a request for a vendor's host to the fake that stands for it, and to no
/// other host.
pub(crate) struct Loopback {
    client: reqwest::Client,
    hosts: Vec<(&'static str, SocketAddr)>,
}

impl Loopback {
    pub(crate) fn new(hosts: Vec<(&'static str, SocketAddr)>) -> Self {
        Self { client: pipeline::egress::local_client().expect("a client"), hosts }
    }
}

#[async_trait]
impl Http for Loopback {
    async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let Some((_, address)) = self.hosts.iter().find(|(known, _)| *known == host) else {
            let detail = format!("`{host}` is no host of this vendor");
            return Err(HttpError { class: Class::BlockedEgress, detail });
        };
        let mut url = request.url;
        url.set_scheme("http").expect("https and http are of a kind");
        url.set_ip_host(address.ip()).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        let sent = self.client.request(request.method, url).headers(request.headers).body(request.body);
        let answer = sent.timeout(request.timeout).send().await.map_err(failed)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(failed)?;
        Ok(Answer { status, headers, body })
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    let class = if error.is_connect() {
        Class::NetworkConnect
    } else if error.is_timeout() {
        Class::Timeout
    } else {
        Class::NetworkReset
    };
    HttpError { class, detail: error.without_url().to_string() }
}
