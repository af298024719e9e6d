//! The registration list: the one place in this room's code that names vendors.

/// The facts of every vendor, in the order of the catalogue.
pub(super) const FACTS: [&str; 17] = [
    include_str!("../../vendors/segment.toml"),
    include_str!("../../vendors/mixpanel.toml"),
    include_str!("../../vendors/google_analytics.toml"),
    include_str!("../../vendors/salesforce.toml"),
    include_str!("../../vendors/hubspot.toml"),
    include_str!("../../vendors/pipedrive.toml"),
    include_str!("../../vendors/sendgrid.toml"),
    include_str!("../../vendors/gmail.toml"),
    include_str!("../../vendors/outlook.toml"),
    include_str!("../../vendors/slack.toml"),
    include_str!("../../vendors/discord.toml"),
    include_str!("../../vendors/telegram.toml"),
    include_str!("../../vendors/webhook.toml"),
    include_str!("../../vendors/google_calendar.toml"),
    include_str!("../../vendors/outlook_calendar.toml"),
    include_str!("../../vendors/stripe.toml"),
    include_str!("../../vendors/paypal.toml"),
];
