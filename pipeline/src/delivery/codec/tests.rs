use super::*;
use crate::delivery::testing::{record, records};
use proptest::prelude::*;

fn bytes(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn what_was_written_is_read(record in records()) {
        prop_assert_eq!(decode(&bytes(&record)), Ok(record));
    }

    #[test]
    fn a_part_of_a_record_is_an_error(record in records(), cut: proptest::sample::Index) {
        let bytes = bytes(&record);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn damage_is_an_error_or_another_record_and_never_a_panic(
        record in records(), at: proptest::sample::Index, to: u8,
    ) {
        let mut bytes = bytes(&record);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
    }

    #[test]
    fn noise_is_no_panic(noise: Vec<u8>) {
        let _ = decode(&noise);
    }
}

#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    let record =
        Record { at: -3, next_at: Some(-1), offsets: vec![7, 9, 300], class: Some(Class::Gone), ..record(7) };
    let expected: &[&[u8]] = &[
        &[1, 0b1100_1110, 1],
        &[5],
        b"slack",
        &[16],
        b"00000000000000aa",
        &[5, 1, 1],
        &[3, 7, 2, 0xa3, 2],
        &[0, 10, 1, 1],
        &[4, 9, 0xc8, 1],
        &[0xe8, 7, 7],
    ];
    assert_eq!(bytes(&record), expected.concat());
}

#[test]
fn every_word_has_a_code_of_its_own() {
    let unlike = |mut codes: Vec<u8>| {
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    };
    unlike(Outcome::ALL.map(outcome_code).to_vec());
    unlike(Trigger::ALL.map(trigger_code).to_vec());
    unlike(Class::ALL.map(class_code).to_vec());
}

#[test]
fn a_thousand_events_in_a_row_take_about_a_byte_each() {
    let record = Record { offsets: (1_000_000..1_001_000).collect(), ..record(1) };
    assert!(bytes(&record).len() < 1_060, "{}", bytes(&record).len());
}

#[test]
fn an_unknown_version_or_field_is_refused() {
    let mut unknown = bytes(&record(1));
    unknown[0] = 2;
    assert_eq!(
        decode(&unknown).unwrap_err().to_string(),
        "the bytes are no record: their version is unknown"
    );
    let mut unknown = bytes(&record(1));
    unknown.splice(1..3, [0x80, 0x40]);
    assert_eq!(decode(&unknown).unwrap_err().to_string(), "the bytes are no record: a field is unknown");
}
