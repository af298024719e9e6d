//! A Mixpanel project and how it lets us in.

use crate::SettingError;
use crate::engine::Account;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pipeline::control::Secret;
use reqwest::header::HeaderValue;
use serde_json::Value;
use url::Url;

/// A project: where its data is, how it joins ids, and its credentials.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) region: Region,
    pub(super) identity: Identity,
    /// The key under which groups of `group` calls are kept; without one they are left out.
    pub(super) group_key: Option<String>,
    token: Secret,
    service_account: Option<ServiceAccount>,
    /// For events: the service account's or the token's. Marked as sensitive.
    authorization: HeaderValue,
}

/// Somebody at Mixpanel who may write to the project.
#[derive(Debug)]
pub(super) struct ServiceAccount {
    /// The number of the project.
    pub(super) project_id: String,
    /// User name and secret with a colon between them.
    credential: Secret,
}

/// Where a project keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    Us,
    Eu,
    In,
}

/// How a project joins the ids of one person. It cannot be changed once data has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The first event with a user id and a device id joins the two.
    Simplified,
    /// Special events join ids.
    Original,
}

impl Region {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "us" => Some(Self::Us),
            "eu" => Some(Self::Eu),
            "in" => Some(Self::In),
            _ => None,
        }
    }

    /// The host that takes data.
    pub(super) fn ingestion_host(self) -> &'static str {
        match self {
            Self::Us => "api.mixpanel.com",
            Self::Eu => "api-eu.mixpanel.com",
            Self::In => "api-in.mixpanel.com",
        }
    }

    /// The host that knows accounts.
    pub(super) fn app_host(self) -> &'static str {
        match self {
            Self::Us => "mixpanel.com",
            Self::Eu => "eu.mixpanel.com",
            Self::In => "in.mixpanel.com",
        }
    }
}

impl Project {
    pub(super) fn new(account: &Account) -> Result<Self, SettingError> {
        let text = |name: &str| account.settings.get(name).and_then(Value::as_str);
        let region = text("region").and_then(Region::parse);
        let region = region.ok_or_else(|| invalid("`region`", "it must be `us`, `eu` or `in`"))?;
        let identity = match text("identity_mode") {
            None | Some("simplified") => Identity::Simplified,
            Some("original") => Identity::Original,
            Some(_) => return Err(invalid("`identity_mode`", "it must be `simplified` or `original`")),
        };
        let group_keys = account.settings.get("group_keys").and_then(Value::as_array);
        let group_key = group_keys.and_then(|keys| keys.first()).and_then(Value::as_str).map(str::to_owned);
        let token = account.credentials.get("project_token").cloned();
        let token = token.ok_or_else(|| invalid("`project_token`", "it is missing"))?;
        if token.reveal().len() != 32 || !token.reveal().bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid("`project_token`", "it must be 32 hexadecimal digits"));
        }
        let credential = account.credentials.get("service_account").cloned();
        let service_account = credential.map(|credential| service_account(credential, text("project_id")));
        let service_account = service_account.transpose()?;
        let basic = service_account.as_ref().map_or_else(
            || BASE64_STANDARD.encode(format!("{}:", token.reveal())),
            |account| BASE64_STANDARD.encode(account.credential.reveal()),
        );
        let mut authorization = HeaderValue::from_str(&format!("Basic {basic}")).expect("base64 is a header");
        authorization.set_sensitive(true);
        Ok(Self { region, identity, group_key, token, service_account, authorization })
    }

    pub(super) fn service_account(&self) -> Option<&ServiceAccount> {
        self.service_account.as_ref()
    }

    pub(super) fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// An address of the host that takes data.
    pub(super) fn ingestion_url(&self, path: &str) -> Url {
        let url = format!("https://{}{path}", self.region.ingestion_host());
        Url::parse(&url).expect("a constant host and a path are an address")
    }

    pub(super) fn import_path(&self) -> String {
        let account = self.service_account.as_ref();
        account.map_or_else(
            || "/import?strict=1".to_owned(),
            |account| format!("/import?strict=1&project_id={}", account.project_id),
        )
    }

    /// A profile's update with the token that it needs. Operations are kept without, because they are
    /// shown to people.
    pub(super) fn with_token(&self, body: &[u8]) -> Vec<u8> {
        insert_behind(b"{", &format!("\"$token\":\"{}\",", self.token.reveal()), body)
    }

    /// An event, with the token if it is one of those that join ids, which need it.
    pub(super) fn with_token_if_special(&self, body: &[u8]) -> Vec<u8> {
        for start in
            [&br#"{"event":"$identify","properties":{"#[..], br#"{"event":"$create_alias","properties":{"#]
        {
            if body.starts_with(start) {
                return insert_behind(start, &format!("\"token\":\"{}\",", self.token.reveal()), body);
            }
        }
        body.to_vec()
    }

    /// The text without the credentials that a vendor may have repeated in it.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let text = text.replace(self.token.reveal(), "…");
        let Some(account) = &self.service_account else { return text };
        let text = text.replace(account.credential.reveal(), "…");
        match account.credential.reveal().split_once(':') {
            Some((_, secret)) => text.replace(secret, "…"),
            None => text,
        }
    }
}

fn service_account(credential: Secret, project_id: Option<&str>) -> Result<ServiceAccount, SettingError> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    if !credential.reveal().split_once(':').is_some_and(|(user, secret)| is_part(user) && is_part(secret)) {
        return Err(invalid(
            "`service_account`",
            "it must be a user name and a secret with a colon between them",
        ));
    }
    let project_id = project_id.ok_or_else(|| invalid("`project_id`", "a service account needs it"))?;
    if project_id.is_empty() || !project_id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("`project_id`", "it must be a number"));
    }
    Ok(ServiceAccount { project_id: project_id.to_owned(), credential })
}

fn insert_behind(start: &[u8], text: &str, body: &[u8]) -> Vec<u8> {
    [start, text.as_bytes(), body.strip_prefix(start).unwrap_or(body)].concat()
}

fn invalid(setting: &'static str, problem: &str) -> SettingError {
    SettingError { setting, problem: problem.to_owned() }
}
