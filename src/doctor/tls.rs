//! How long the server's certificate holds.

use super::report::Report;
use crate::settings::Settings;
use pipeline::clock::DAY;
use pipeline::event::{format_timestamp, parse_timestamp};
use pipeline::{Clock, Micros};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const CHECK: &str = "certificate";
const DAYS_WANTED: i64 = 14;

pub(super) fn look(settings: &Settings, clock: &Clock, report: &mut Report) {
    let Some(path) = &settings.tls_certificate else { return };
    if let Err(error) = crate::serve::check_tls(settings) {
        return report.fail(
            CHECK,
            error.to_string(),
            "name the certificate chain and the key that goes with it",
        );
    }
    let first = CertificateDer::pem_file_iter(path).ok().and_then(|mut chain| chain.next()?.ok());
    let Some(end) = first.and_then(|certificate| not_after(&certificate)) else {
        return report.warn(
            CHECK,
            format!("`{}`: its end cannot be read", path.display()),
            "look at it yourself",
        );
    };
    let days = (end - clock.now()).div_euclid(DAY);
    let found = format!("it holds until {}, {days} days", format_timestamp(end));
    match days {
        ..0 => report.fail(
            CHECK,
            format!("it ended at {}", format_timestamp(end)),
            "renew it: clients refuse it",
        ),
        days if days < DAYS_WANTED => report.warn(CHECK, found, "renew it soon"),
        _ => report.ok(CHECK, found),
    }
}

/// The end of a certificate's validity (RFC 5280, section 4.1).
fn not_after(certificate: &[u8]) -> Option<Micros> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (tag, mut fields, _) = element(certificate)?;
    let mut sequences = 0;
    // Of the fields before validity only algorithm and issuer are sequences.
    while tag == SEQUENCE && !fields.is_empty() {
        let (tag, value, rest) = element(fields)?;
        sequences += usize::from(tag == SEQUENCE && tag != VERSION);
        if sequences == 3 {
            let (_, _, after) = element(value)?;
            let (tag, text, _) = element(after)?;
            return time(tag, std::str::from_utf8(text).ok()?);
        }
        fields = rest;
    }
    None
}

/// The first element of DER: its tag, its value, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (bytes, behind) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        rest = behind;
    }
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &str) -> Option<Micros> {
    let text = match tag {
        0x17 => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let part = |at: std::ops::Range<usize>| text.get(at);
    parse_timestamp(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        part(12..14)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_and_told() {
        let fixture = |name: &str| format!("{}/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let flags =
            [("tls_certificate", fixture("server-certificate.pem")), ("tls_key", fixture("server-key.pem"))];
        let settings = Settings::load(None, [], &flags).unwrap();
        let text = |now: &str| {
            let mut report = Report::default();
            look(&settings, &Clock::given(parse_timestamp(now).unwrap()), &mut report);
            report.text()
        };
        // As `openssl x509 -enddate` says it.
        assert!(text("2026-11-26").contains("ok    certificate  it holds until 2126-11-02T13:41:57"));
        assert!(text("2126-10-31").contains("warn  certificate"));
        assert!(text("2126-11-03").contains("FAIL  certificate  it ended"));
        assert_eq!(time(0x17, "491231235959Z"), parse_timestamp("2049-12-31T23:59:59Z"));
        assert_eq!(not_after(&[0x30, 0x82, 0xff, 0xff, 1]), None);
    }
}
