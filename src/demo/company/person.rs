//! One person: some devices, some visits, perhaps an account, perhaps orders.

use super::{LIFE, Message, Origin};
use chrono::{DateTime, SecondsFormat};
use pipeline::Micros;
use pipeline::clock::{DAY, HOUR, SECOND};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

const MINUTE: Micros = 60 * SECOND;

const FIRST_NAMES: [&str; 16] = [
    "Ada", "Bela", "Chiara", "Davud", "Emre", "Freya", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena",
    "Mika", "Noor", "Oskar", "Priya",
];
const LAST_NAMES: [&str; 16] = [
    "Almeida",
    "Bakker",
    "Costa",
    "Dvorak",
    "Eriksen",
    "Fischer",
    "Garnier",
    "Horvat",
    "Ivanov",
    "Jansen",
    "Kovacs",
    "Lindqvist",
    "Moreau",
    "Nowak",
    "Okafor",
    "Petrov",
];
const CITIES: [&str; 8] = ["Lyon", "Porto", "Gent", "Graz", "Turku", "Brno", "Bilbao", "Leipzig"];
const PRODUCTS: [(&str, f64); 8] = [
    ("Pour-over kettle", 64.0),
    ("Hand grinder", 119.5),
    ("House blend, 1 kg", 24.9),
    ("Filter papers", 6.5),
    ("Travel press", 39.0),
    ("Ceramic dripper", 27.0),
    ("Scale", 49.9),
    ("Yirgacheffe, 250 g", 13.5),
];
/// Source, medium, campaign, and how many in a hundred come that way; the rest comes by itself.
const CAMPAIGNS: [(&str, &str, &str, u32); 4] = [
    ("google", "cpc", "brand-search", 28),
    ("instagram", "social", "slow-mornings", 20),
    ("newsletter", "email", "autumn-letter", 16),
    ("partner", "referral", "roasters-guild", 9),
];
const DEVICES: [(&str, &str); 3] = [
    ("ios", "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"),
    ("android", "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/142.0 Mobile"),
    ("web", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/19.1 Safari"),
];

/// Someone who comes to the shop.
pub(super) struct Person {
    number: usize,
    now: Micros,
    user_id: String,
    name: String,
    devices: Vec<Device>,
    messages: Vec<Message>,
}

struct Device {
    anonymous_id: String,
    platform: usize,
    /// Whether the person has signed in on it.
    known: bool,
}

impl Person {
    pub(super) fn new(number: usize, now: Micros, random: &mut StdRng) -> Self {
        let devices = (0..[1, 1, 1, 2, 2, 3][random.random_range(0..6)])
            .map(|_| Device {
                anonymous_id: id(random),
                platform: random.random_range(0..DEVICES.len()),
                known: false,
            })
            .collect();
        let name = format!("{} {}", pick(&FIRST_NAMES, random), pick(&LAST_NAMES, random));
        Self { number, now, user_id: format!("u{number:05}"), name, devices, messages: Vec::new() }
    }

    /// All they do, from a first visit some weeks ago until now.
    pub(super) fn live(mut self, random: &mut StdRng) -> Vec<Message> {
        let mut at = self.now - LIFE + random.random_range(0..LIFE - DAY);
        let signs_up_at_visit = if chance(random, 55) { random.random_range(0..3) } else { usize::MAX };
        for visit in 0..random.random_range(1..9) {
            let device = random.random_range(0..self.devices.len());
            // Late: the device was offline and sends hours or days after.
            let late = if chance(random, 4) { random.random_range(HOUR..3 * DAY) } else { 0 };
            let first = self.messages.len();
            self.visit(device, visit, &mut at, random);
            if visit == signs_up_at_visit {
                self.sign_up(device, &mut at, random);
            } else if visit > signs_up_at_visit {
                self.sign_in(device, &mut at, random);
                if chance(random, 45) {
                    self.buy(device, &mut at, random);
                }
            }
            for message in &mut self.messages[first..] {
                message.sent += if message.origin == Origin::Website { late } else { 0 };
            }
            at += random.random_range(4 * HOUR..9 * DAY);
            if at > self.now - DAY {
                break;
            }
        }
        let now = self.now;
        self.messages.into_iter().map(|message| Message { sent: message.sent.min(now), ..message }).collect()
    }

    fn visit(&mut self, device: usize, visit: usize, at: &mut Micros, random: &mut StdRng) {
        let campaign = if visit == 0 || chance(random, 25) { campaign(random) } else { None };
        let pages = ["Home", "Coffee", "Brewing guide", "Gear", "Journal"];
        for page in 0..random.random_range(2..7) {
            *at += random.random_range(8 * SECOND..4 * MINUTE);
            let name = if page == 0 { "Home" } else { pick(&pages, random) };
            let mut body = json!({
                "type": "page", "name": name,
                "properties": {"path": format!("/{}", name.to_lowercase().replace(' ', "-"))},
            });
            if let (0, Some(campaign)) = (page, &campaign) {
                body["context"] = json!({"campaign": campaign});
            }
            self.on_device(device, *at, body, random);
            if chance(random, 35) {
                let properties = product(random).1;
                *at += random.random_range(3 * SECOND..MINUTE);
                let body = json!({"type": "track", "event": "Product Viewed", "properties": properties});
                self.on_device(device, *at, body, random);
            }
        }
    }

    fn sign_up(&mut self, device: usize, at: &mut Micros, random: &mut StdRng) {
        *at += random.random_range(20 * SECOND..3 * MINUTE);
        let email = format!("{}.{}@example.com", self.name.to_lowercase().replace(' ', "."), self.number);
        if chance(random, 12) {
            // The mailing tool knew them under an id of its own.
            let lead = format!("lead-{}", self.number);
            let subscribed = json!({"type": "track", "event": "Newsletter Subscribed", "anonymousId": lead});
            self.on_server(*at - HOUR, subscribed, random);
            let alias = json!({"type": "alias", "previousId": lead, "userId": self.user_id});
            self.on_server(*at + SECOND, alias, random);
        }
        self.devices[device].known = true;
        let traits = json!({
            "name": self.name, "email": email, "city": pick(&CITIES, random), "plan": "free",
        });
        self.on_device(device, *at, json!({"type": "identify", "traits": traits}), random);
        let body = json!({"type": "track", "event": "Signed Up", "properties": {"method": "email"}});
        self.on_device(device, *at + SECOND, body, random);
        if chance(random, 15) {
            let company = random.random_range(0..40);
            let traits = json!({"name": format!("Office {company}"), "employees": 5 + company * 3});
            let body = json!({
                "type": "group", "userId": self.user_id, "groupId": format!("c{company:03}"), "traits": traits,
            });
            self.on_server(*at + 2 * SECOND, body, random);
        }
    }

    fn sign_in(&mut self, device: usize, at: &mut Micros, random: &mut StdRng) {
        if !self.devices[device].known {
            self.devices[device].known = true;
            *at += random.random_range(5 * SECOND..MINUTE);
            self.on_device(device, *at, json!({"type": "identify", "traits": {"name": self.name}}), random);
        }
    }

    fn buy(&mut self, device: usize, at: &mut Micros, random: &mut StdRng) {
        let mut products = Vec::new();
        let mut total = 0.0;
        for _ in 0..random.random_range(1..4) {
            let (price, properties) = product(random);
            *at += random.random_range(5 * SECOND..MINUTE);
            products.push(properties.clone());
            let body = json!({"type": "track", "event": "Product Added", "properties": properties});
            self.on_device(device, *at, body, random);
            total += price;
        }
        *at += random.random_range(20 * SECOND..3 * MINUTE);
        let body = json!({
            "type": "track", "event": "Order Completed", "userId": self.user_id,
            "properties": {
                "order_id": format!("o-{}-{}", self.number, self.messages.len()),
                "total": (total * 100.0_f64).round() / 100.0, "currency": "EUR", "products": products,
            },
        });
        self.on_server(*at, body, random);
    }

    fn on_device(&mut self, device: usize, at: Micros, mut body: Value, random: &mut StdRng) {
        let device = &self.devices[device];
        let (platform, user_agent) = DEVICES[device.platform];
        body["anonymousId"] = device.anonymous_id.as_str().into();
        if device.known {
            body["userId"] = self.user_id.as_str().into();
        }
        let known = body["context"].as_object().cloned().unwrap_or_default();
        let mut context = Map::from_iter([
            ("userAgent".to_owned(), user_agent.into()),
            ("locale".to_owned(), "en-GB".into()),
            ("device".to_owned(), json!({"type": platform})),
        ]);
        context.extend(known);
        body["context"] = context.into();
        self.push(Origin::Website, at, body, random);
    }

    fn on_server(&mut self, at: Micros, mut body: Value, random: &mut StdRng) {
        body["context"] = json!({"library": {"name": "shop-backend", "version": "4.2.0"}});
        self.push(Origin::Backend, at, body, random);
    }

    fn push(&mut self, origin: Origin, at: Micros, mut body: Value, random: &mut StdRng) {
        body["messageId"] = id(random).into();
        let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
        body["timestamp"] = time.to_rfc3339_opts(SecondsFormat::Millis, true).into();
        self.messages.push(Message { origin, sent: at, body, flaw: None });
    }
}

/// Something the shop sells: its price, and what an event says of it.
fn product(random: &mut StdRng) -> (f64, Value) {
    let nth = random.random_range(0..PRODUCTS.len());
    let (name, price) = PRODUCTS[nth];
    (price, json!({"product_id": format!("p{nth}"), "name": name, "price": price, "currency": "EUR"}))
}

fn campaign(random: &mut StdRng) -> Option<Value> {
    let mut draw = random.random_range(0..100);
    for (source, medium, name, share) in CAMPAIGNS {
        if draw < share {
            return Some(json!({"source": source, "medium": medium, "name": name}));
        }
        draw -= share;
    }
    None
}

fn id(random: &mut StdRng) -> String {
    format!("{:016x}{:016x}", random.random::<u64>(), random.random::<u64>())
}

fn pick<'a>(words: &[&'a str], random: &mut StdRng) -> &'a str {
    words[random.random_range(0..words.len())]
}

fn chance(random: &mut StdRng, in_a_hundred: u32) -> bool {
    random.random_range(0..100) < in_a_hundred
}
