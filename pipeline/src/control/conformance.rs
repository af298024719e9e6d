//! What every control store must do, whatever it is kept in. Each function takes fresh, empty stores.

use super::{ApiKey, Control, ControlError, KeyHash, Scope, Source, SourceKind};

/// A source whose key is made from `key`.
pub(crate) fn source(name: &str, key: u64) -> Source {
    Source {
        name: name.to_owned(),
        kind: if key.is_multiple_of(2) { SourceKind::Browser } else { SourceKind::Server },
        test: key.is_multiple_of(3),
        enabled: true,
        write_key_hash: KeyHash::of(&format!("write {key}")),
        write_key_prefix: format!("fs_write_{key}"),
        created_at: 1_700_000_000_000_000 + key as i64,
    }
}

fn api_key(name: &str, key: u64) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hash: KeyHash::of(&format!("api {key}")),
        prefix: format!("fs_api_{key}"),
        scopes: Scope::ALL.into_iter().skip(key as usize).collect(),
        expires_at: key.is_multiple_of(2).then_some(9),
        last_used_at: None,
        created_at: 5,
    }
}

/// All promises that one handle can be held to.
pub(crate) async fn one_handle(control: &dyn Control) {
    sources(control).await;
    api_keys(control).await;
}

async fn sources(control: &dyn Control) {
    assert_eq!(control.sources().await.unwrap(), []);
    let (web, app) = (source("web", 1), source("app", 6));
    control.add_source(web.clone()).await.unwrap();
    control.add_source(app.clone()).await.unwrap();
    assert_eq!(control.sources().await.unwrap(), [app.clone(), web.clone()], "by name");

    let before = control.version().await.unwrap();
    let taken = control.add_source(source("web", 3)).await;
    assert!(matches!(taken, Err(ControlError::Exists(name)) if name == "web"));
    let taken = control.add_source(Source { name: "other".into(), ..web.clone() }).await;
    assert!(matches!(taken, Err(ControlError::Exists(_))), "the key is taken");
    for wrong in ["", "Web", "a b", "ü", "a/b", &"a".repeat(65)] {
        let refused = control.add_source(source(wrong, 9)).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{wrong}");
    }
    let unknown = control.set_source_enabled("nobody", false).await;
    assert!(matches!(unknown, Err(ControlError::Unknown(name)) if name == "nobody"));
    assert_eq!(control.version().await.unwrap(), before, "nothing was changed");

    control.set_source_enabled("web", false).await.unwrap();
    assert_eq!(control.sources().await.unwrap(), [app, Source { enabled: false, ..web.clone() }]);
    let disabled = control.version().await.unwrap();
    assert_ne!(disabled, before);
    control.set_source_enabled("web", true).await.unwrap();
    assert!(control.sources().await.unwrap().contains(&web));
    assert_ne!(control.version().await.unwrap(), disabled);
    control.add_source(source(&"a".repeat(64), 11)).await.unwrap();
}

async fn api_keys(control: &dyn Control) {
    let before = control.version().await.unwrap();
    control.add_api_key(api_key("b", 1)).await.unwrap();
    control.add_api_key(api_key("a", 2)).await.unwrap();
    assert_eq!(control.api_keys().await.unwrap(), [api_key("a", 2), api_key("b", 1)]);
    let after = control.version().await.unwrap();
    assert_ne!(after, before);
    assert!(matches!(control.add_api_key(api_key("a", 3)).await, Err(ControlError::Exists(_))));
    assert!(matches!(control.add_api_key(api_key("c", 1)).await, Err(ControlError::Exists(_))));
    for wrong in ["", "A", "a b", "a/b", &"a".repeat(65)] {
        let refused = control.add_api_key(api_key(wrong, 9)).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{wrong}");
    }

    let [a, b] = [api_key("a", 2), api_key("b", 1)];
    control.api_keys_used(&[(a.hash, 20), (KeyHash::of("gone"), 20)]).await.unwrap();
    control.api_keys_used(&[(a.hash, 10), (b.hash, 11)]).await.unwrap();
    let used: Vec<_> = control.api_keys().await.unwrap().iter().map(|key| key.last_used_at).collect();
    assert_eq!(used, [Some(20), Some(11)], "the latest use");
    let unknown = control.revoke_api_key("nobody").await;
    assert!(matches!(unknown, Err(ControlError::Unknown(name)) if name == "nobody"));
    assert_eq!(control.version().await.unwrap(), after, "neither use nor a refusal is a change");

    control.revoke_api_key("a").await.unwrap();
    assert_eq!(control.api_keys().await.unwrap(), [ApiKey { last_used_at: Some(11), ..b }]);
    assert_ne!(control.version().await.unwrap(), after);
    control.add_api_key(a).await.expect("name and key are free again");
}

/// What holds between two handles to one store, which may be two processes.
pub(crate) async fn two_handles(one: &dyn Control, other: &dyn Control) {
    let before = other.version().await.unwrap();
    one.add_source(source("web", 1)).await.unwrap();
    assert_ne!(other.version().await.unwrap(), before);
    assert_eq!(other.sources().await.unwrap(), [source("web", 1)]);
    other.set_source_enabled("web", false).await.unwrap();
    assert!(!one.sources().await.unwrap()[0].enabled);

    let add = |control: &'static str, key: u64| source(&format!("{control}-{key}"), 100 + key);
    let writes = futures::future::join_all((0..20).map(|key| async move {
        let (control, name) = if key % 2 == 0 { (one, "one") } else { (other, "other") };
        control.add_source(add(name, key)).await
    }));
    assert!(writes.await.into_iter().all(|outcome| outcome.is_ok()), "writers wait for each other");
    assert_eq!(one.sources().await.unwrap().len(), 21);
    assert_eq!(one.version().await.unwrap(), other.version().await.unwrap());

    let (first, second) =
        futures::join!(one.add_source(source("same", 200)), other.add_source(source("same", 201)));
    assert_eq!(
        [first.is_ok(), second.is_ok()].into_iter().filter(|ok| *ok).count(),
        1,
        "one name, one source"
    );
}
