//! From a host name to the addresses that a connection may be made to.

use super::Policy;
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where host names are looked up.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of a host.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
pub(super) struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Gives the client checked addresses, and it connects to no others.
///
/// The addresses that were checked are the addresses that are connected to, so a name that changes
/// its meaning between a check and its use gains nothing. One address that is not allowed is enough
/// to refuse the name.
pub(super) struct Guard {
    pub(super) policy: Policy,
    pub(super) resolver: Arc<dyn Resolver>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, resolver) = (self.policy, Arc::clone(&self.resolver));
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            for &address in &addresses {
                policy.check_address(address)?;
            }
            // Port 0 stands for the port of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
