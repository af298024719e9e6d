use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CONTEXT: &str = "connection/c1";

proptest! {
    #[test]
    fn what_is_sealed_opens_again_and_does_not_show(
        plain in proptest::collection::vec(any::<u8>(), 0..600),
        context in "[a-z]{0,9}(/[a-z0-9]{1,9})?",
    ) {
        let ring = Keyring::random().unwrap();
        let sealed = ring.seal(&context, &plain).unwrap();
        let stored = Sealed::from_bytes(sealed.as_bytes().to_vec()).unwrap();
        let opened = ring.open(&context, &stored).unwrap();
        prop_assert_eq!(opened.reveal(), &plain);
        if plain.len() >= 8 {
            prop_assert!(!stored.as_bytes().windows(plain.len()).any(|part| part == plain));
        }
    }
}

#[test]
fn the_same_secret_is_sealed_differently_each_time() {
    let ring = Keyring::random().unwrap();
    let [first, second] = [(); 2].map(|()| ring.seal(CONTEXT, b"secret").unwrap());
    let differing = first.as_bytes().iter().zip(second.as_bytes()).filter(|(a, b)| a != b).count();
    assert_eq!(first.as_bytes()[..5], second.as_bytes()[..5]);
    assert!(differing > 80, "only {differing} bytes differ");
}

#[test]
fn a_secret_opens_in_its_own_place_only() {
    let ring = Keyring::random().unwrap();
    let sealed = ring.seal(CONTEXT, b"canary").unwrap();
    for context in ["connection/c2", "connection/c", "connection/c11", "", "Connection/c1"] {
        let error = ring.open(context, &sealed).unwrap_err();
        assert!(matches!(error, SealError::DamagedOrMisplaced(_)), "{error}");
        assert!(error.to_string().contains(&format!("`{context}`")), "{error}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let ring = Keyring::random().unwrap();
    let sealed = ring.seal(CONTEXT, b"a secret").unwrap();
    for bit in 0..sealed.as_bytes().len() * 8 {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = Sealed::from_bytes(bytes).and_then(|sealed| ring.open(CONTEXT, &sealed));
        let expected = match bit / 8 {
            0 => matches!(opened, Err(SealError::Newer(_) | SealError::Damaged)),
            1..5 => matches!(opened, Err(SealError::UnknownKey { .. })),
            5..77 => matches!(opened, Err(SealError::Damaged)),
            _ => matches!(opened, Err(SealError::DamagedOrMisplaced(_))),
        };
        assert!(expected, "bit {bit}: {opened:?}");
    }
}

#[test]
fn every_missing_byte_is_noticed() {
    let ring = Keyring::random().unwrap();
    let sealed = ring.seal(CONTEXT, b"a secret").unwrap();
    for length in 0..sealed.as_bytes().len() {
        let cut = Sealed::from_bytes(sealed.as_bytes()[..length].to_vec());
        assert!(cut.and_then(|cut| ring.open(CONTEXT, &cut)).is_err(), "{length} bytes");
    }
}

#[test]
fn parts_of_two_secrets_cannot_be_combined() {
    let ring = Keyring::random().unwrap();
    let [first, second] = ["one", "two"].map(|plain| ring.seal(CONTEXT, plain.as_bytes()).unwrap());
    let mixed = [&first.as_bytes()[..77], &second.as_bytes()[77..]].concat();
    assert!(ring.open(CONTEXT, &Sealed::from_bytes(mixed).unwrap()).is_err());
}

#[test]
fn a_newer_format_asks_for_an_upgrade() {
    let error = Sealed::from_bytes(vec![2; 200]).unwrap_err();
    assert!(matches!(error, SealError::Newer(2)) && error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn another_ring_names_the_key_that_is_missing() {
    let (ring, other) = (Keyring::random().unwrap(), Keyring::random().unwrap());
    let sealed = ring.seal(CONTEXT, b"canary").unwrap();
    let error = other.open(CONTEXT, &sealed).unwrap_err().to_string();
    assert!(error.contains(&format!("master key `{}`", ring.current())), "{error}");
    assert!(error.contains(&format!("at hand are `{}`", other.current())), "{error}");
    assert!(matches!(other.rewrap(&sealed), Err(SealError::UnknownKey { .. })));
}

#[test]
fn a_rotation_moves_every_secret_to_the_new_key() {
    let mut ring = Keyring::random().unwrap();
    let old = ring.current();
    let sealed = ring.seal(CONTEXT, b"secret").unwrap();
    assert_eq!(ring.rewrap(&sealed).unwrap(), None);

    let new = ring.add_key().unwrap();
    assert_eq!(ring.ids().collect::<Vec<_>>(), [new, old]);
    assert_eq!(ring.open(CONTEXT, &sealed).unwrap().reveal(), b"secret");
    let rewrapped = ring.rewrap(&sealed).unwrap().expect("it is under the old key");
    assert_eq!((sealed.key_id(), rewrapped.key_id()), (old, new));
    assert_eq!(ring.rewrap(&rewrapped).unwrap(), None);

    ring.keep_current();
    assert_eq!(ring.open(CONTEXT, &rewrapped).unwrap().reveal(), b"secret");
    assert!(ring.open("connection/c2", &rewrapped).is_err());
    assert!(matches!(ring.open(CONTEXT, &sealed), Err(SealError::UnknownKey { .. })));
}

#[test]
fn keys_are_read_as_an_operator_gives_them() {
    let other = HEX.replace('0', "F");
    for text in [
        format!("{HEX} {other}"),
        format!("{HEX},{other}\n"),
        format!("# old # and new\n{HEX} # now\n\n{other}\n{HEX}"),
    ] {
        let ring = Keyring::parse(&text).unwrap();
        assert_eq!(ring.ids().count(), 2, "{text}");
        assert_eq!(ring.current(), Keyring::parse(HEX).unwrap().current(), "{text}");
    }
    assert_eq!(
        Keyring::parse(&HEX.to_uppercase()).unwrap().current(),
        Keyring::parse(HEX).unwrap().current()
    );
}

#[test]
fn the_format_stays_readable() {
    // Made by the first version, and opened by a reader of this format that shares no code with it. A
    // version that cannot open it loses people's secrets.
    let ring = Keyring::parse(HEX).unwrap();
    assert_eq!(ring.current().to_string(), "7dd14000");
    let bytes = "017dd1400092e0063c8a85f22cadb28aca89e107243813917b25f9a2ab8b8607755bf8a405ff6e582d84309681f8\
         2b7e245a82d1791921d127d0a3962f9807d82c6a25161f1576780ab2a76bc571c7902f40830a4e3fe5500c5531e7\
         d6d175a47912dfe5dab85a7def8990bf2238710a34479ab38088e9907693a3b7c48ecd07302d";
    let bytes = (0..bytes.len() / 2).map(|at| u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16).unwrap());
    let sealed = Sealed::from_bytes(bytes.collect()).unwrap();
    assert_eq!(ring.open(CONTEXT, &sealed).unwrap().reveal(), b"kept for ever");
}

#[test]
fn keys_that_are_none_are_refused_and_not_repeated() {
    for text in ["", " \n", "# only a remark"] {
        assert!(matches!(Keyring::parse(text), Err(KeyringError::Empty)), "{text:?}");
    }
    for (text, wrong) in
        [("canary", 1), (&HEX[1..], 1), (&format!("{HEX} {HEX}0"), 2), (&format!("{}é", &HEX[2..]), 1)]
    {
        let error = Keyring::parse(text).unwrap_err();
        assert!(matches!(error, KeyringError::Malformed { position } if position == wrong), "{error}");
        assert!(error.to_string().contains("openssl rand -hex 32"), "{error}");
        assert!(!format!("{error} {error:?}").contains(text), "{error:?}");
    }
}

#[test]
fn a_first_start_makes_a_key_file_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    assert!(Keyring::load(&path).unwrap().is_none());
    let made = Keyring::load_or_make(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Keyring::load_or_make(&path).unwrap().current(), made.current());
    assert_eq!(Keyring::load(&path).unwrap().unwrap().current(), made.current());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn first_starts_at_once_agree_on_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let ids: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Keyring::load_or_make(&path).unwrap().current())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    Keyring::load_or_make(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o644, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for opened in [Keyring::load(&path).map(drop), Keyring::load_or_make(&path).map(drop)] {
            let error = opened.unwrap_err();
            assert!(matches!(error, KeyringError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
            assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
        }
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(Keyring::load(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_damaged_key_file_is_neither_used_nor_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    for text in ["", "canary"] {
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Keyring::load_or_make(&path).unwrap_err();
        assert!(matches!(error, KeyringError::File { .. }), "{error}");
        assert!(
            error.to_string().contains("backup") && !format!("{error:?}").contains("canary"),
            "{error:?}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_rotated_ring_is_saved_and_loaded_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let mut ring = Keyring::load_or_make(&path).unwrap();
    ring.add_key().unwrap();
    ring.add_key().unwrap();
    ring.save(&path).unwrap();
    let loaded = Keyring::load(&path).unwrap().unwrap();
    assert_eq!(loaded.ids().collect::<Vec<_>>(), ring.ids().collect::<Vec<_>>());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn debug_and_errors_show_no_key_and_no_secret() {
    let ring = Keyring::parse(HEX).unwrap();
    let sealed = ring.seal(CONTEXT, b"canary").unwrap();
    let opened = ring.open(CONTEXT, &sealed).unwrap();
    let wrong = ring.open("other", &sealed).unwrap_err();
    let shown = format!("{ring:?} {ring:#?} {sealed:?} {opened:?} {wrong:?} {wrong}");
    assert!(shown.contains(&ring.current().to_string()), "{shown}");
    // As text, and as the numbers that the `Debug` of bytes shows.
    for secret in ["canary", "99, 97, 110", &HEX[..8], "0, 1, 2, 3"] {
        assert!(!shown.contains(secret), "`{secret}` in {shown}");
    }
}
