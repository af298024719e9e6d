//! The destination of the settings: one connection to Segment that `forward_to` keeps.

use crate::settings::{Settings, WrongSetting};
use anyhow::Context;
use pipeline::connection::{Connection, Connections, Edit, Entered, StartFrom, State};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use url::Url;

/// The name of the connection.
const NAME: &str = "forward_to";

/// Sees to it that the connection is as the setting says: made and enabled from the beginning, changed,
/// or paused where the setting is gone.
pub(super) async fn ensure(connections: &Connections, settings: &Settings) -> anyhow::Result<()> {
    let known = connections.store().connections().await?.into_iter().find(|known| known.name == NAME);
    let Some(url) = &settings.forward_to else {
        if let Some(known) = known.filter(|known| known.state == State::Enabled) {
            connections.pause(&known.id).await?;
        }
        return Ok(());
    };
    let wanted = Wanted::of(url.reveal(), settings.allow_private_egress)?;
    match known {
        None => {
            let made = connections.create(wanted.entered()).await.context("`forward_to` cannot be used")?;
            connections.enable(&made.connection.id, StartFrom::Beginning).await?;
        }
        Some(known) => {
            if !wanted.is(&known, connections)? {
                connections.update(&known.id, wanted.edit()).await.context("`forward_to` cannot be used")?;
            }
            connections.resume(&known.id).await?;
        }
    }
    Ok(())
}

/// What the setting says.
struct Wanted {
    write_key: String,
    region: &'static str,
    hosts: BTreeMap<String, String>,
}

impl Wanted {
    fn of(url: &str, allow_private: bool) -> anyhow::Result<Self> {
        let mut url = Url::parse(url).context("`forward_to` is no URL")?;
        let write_key = url.username().to_owned();
        let (region, is_segment) = match url.host_str() {
            Some("api.segment.io") => ("us", true),
            Some("events.eu1.segmentapis.com") => ("eu", true),
            _ => ("us", false),
        };
        if is_segment {
            return Ok(Self { write_key, region, hosts: BTreeMap::new() });
        }
        if !allow_private {
            return Err(WrongSetting::new(
                "setting `forward_to` names another host than Segment's: that takes `--allow-private-egress`"
                    .to_owned(),
            )
            .into());
        }
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| anyhow::anyhow!("`forward_to` has no host"))?;
        url.set_path("");
        Ok(Self { write_key, region, hosts: BTreeMap::from([("*".to_owned(), url.to_string())]) })
    }

    fn settings(&self) -> Map<String, Value> {
        Map::from_iter([("region".to_owned(), json!(self.region))])
    }

    fn entered(&self) -> Entered {
        Entered {
            vendor: "segment".to_owned(),
            name: NAME.to_owned(),
            settings: self.settings(),
            credentials: BTreeMap::from([("write_key".to_owned(), self.write_key.clone())]),
            hosts: self.hosts.clone(),
            routing: json!({}),
        }
    }

    fn edit(&self) -> Edit {
        Edit {
            settings: self.settings(),
            credentials: BTreeMap::from([("write_key".to_owned(), Some(self.write_key.clone()))]),
            hosts: Some(self.hosts.clone()),
            ..Edit::default()
        }
    }

    fn is(&self, known: &Connection, connections: &Connections) -> anyhow::Result<bool> {
        let credentials = connections.open_credentials(known)?;
        let same_key = credentials.get("write_key").is_some_and(|key| key.reveal() == self.write_key);
        Ok(same_key && known.hosts == self.hosts && known.settings.get("region") == Some(&json!(self.region)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_own_hosts_name_their_region_and_others_have_to_be_allowed() {
        let us = Wanted::of("https://key@api.segment.io", false).unwrap();
        assert_eq!((us.write_key.as_str(), us.region, us.hosts.len()), ("key", "us", 0));
        assert_eq!(Wanted::of("https://k@events.eu1.segmentapis.com/v1/batch", false).unwrap().region, "eu");
        let refused = Wanted::of("http://key@127.0.0.1:9/v1/batch", false).err().unwrap().to_string();
        assert!(refused.contains("--allow-private-egress") && !refused.contains("key@"), "{refused}");
        let other = Wanted::of("http://key@127.0.0.1:9/v1/batch", true).unwrap();
        assert_eq!(other.hosts["*"], "http://127.0.0.1:9/");
    }
}
