//! How a vendor lets us in.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One way to be let in. A connection uses exactly one of a vendor's ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Its form.
    pub form: Form,
    /// Its name for people, such as `Bot token`.
    pub label: String,
    /// The names of the credentials that it uses.
    pub credentials: Vec<String>,
    /// One sentence on when to choose it and what it costs.
    pub when: String,
    /// What the form `oauth2` or `client_credentials` needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
}

/// The form of a way to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A key or token of the account, entered by a person.
    ApiKey,
    /// A token of a bot, entered by a person.
    BotToken,
    /// An address that is itself the secret.
    WebhookUrl,
    /// A secret that both sides sign with.
    SigningSecret,
    /// A person consents at the vendor; we hold tokens that have to be renewed.
    Oauth2,
    /// A client id and secret are exchanged for a token, without a person.
    ClientCredentials,
    /// Statements signed with a private key are exchanged for a token, without a person.
    JwtBearer,
}

/// What there is to know about a vendor's OAuth 2.0.
///
/// A word in braces in an address is the name of a setting; `{hosts.login}` is the host for that
/// purpose in the chosen region or environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// Where the person consents; absent where nobody has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// More parameters of that address, without which something goes wrong.
    #[serde(default)]
    pub authorize_parameters: BTreeMap<String, String>,
    /// Where tokens are handed out.
    pub token_url: String,
    /// Where a token is given back; absent where the vendor has no such place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<String>,
    /// Whether the exchange is protected by PKCE with `S256` (RFC 7636).
    pub pkce: bool,
    /// How the client proves itself when it asks for tokens.
    pub client_auth: ClientAuth,
    /// How a good answer is told from a bad one.
    pub success: TokenSuccess,
    /// What stands between the names of scopes.
    pub scope_separator: String,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// How long an access token lives unless the answer says otherwise, in seconds; absent where the
    /// vendor states nothing or the token does not end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_s: Option<u64>,
    /// How long an unused refresh token lives, in seconds; absent where it does not end by itself or
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_s: Option<u64>,
    /// Whether each use of a refresh token gives a new one, so that only one process may use it, and
    /// the new one is stored before the access token is used.
    #[serde(default)]
    pub refresh_token_rotates: bool,
    /// Fields of the token answer that are kept, such as the address of the account's own host.
    #[serde(default)]
    pub keep: Vec<String>,
    /// What else is peculiar.
    #[serde(default)]
    pub quirks: Vec<String>,
}

/// How a client proves itself when it asks for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// By HTTP Basic authentication.
    Basic,
    /// By fields of the form.
    Body,
}

/// How a good answer to a token request is told from a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSuccess {
    /// By its HTTP status.
    HttpStatus,
    /// By the field `ok` of its body; the status is always 200.
    BodyOk,
}

/// A permission, in the vendor's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Its name at the vendor.
    pub name: String,
    /// What it is needed for.
    pub why: String,
    /// Whether it is asked for only when that is wanted.
    #[serde(default)]
    pub optional: bool,
}
