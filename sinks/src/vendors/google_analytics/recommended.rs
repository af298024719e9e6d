//! Events that Google knows by name, and the events of Segment's specification that mean them.
//!
//! Google's "Events" and Segment's "Spec: V2 Ecommerce Events" (both read 2026-11).

use super::params::{Form, Params, item, of_item, without_item};
use serde_json::{Map, Number, Value, json};

/// One of Segment's events in Google's words.
pub(super) struct Recommended {
    /// Segment's name in snake case.
    segment: &'static str,
    /// Google's name.
    pub(super) name: &'static str,
    /// Where the items are.
    items: Items,
    /// Parameters, and the properties that say them; the first that is there.
    params: &'static [(&'static str, &'static [&'static str])],
    /// The properties that say the `value`; the first that is a number.
    value: &'static [&'static str],
    /// Whether `value` is otherwise the sum of the items.
    is_sum: bool,
    /// What the event may be when what it needs is missing.
    pub(super) else_own: bool,
}

#[derive(Clone, Copy)]
enum Items {
    /// There are none.
    None,
    /// The property `products`.
    Products,
    /// The event is about one product, itself.
    Itself,
    /// `products`, else the promotion.
    Promotion,
}

const ORDER: &[(&str, &[&str])] = &[
    ("transaction_id", &["order_id", "checkout_id"]),
    ("tax", &["tax"]),
    ("shipping", &["shipping"]),
    ("coupon", &["coupon"]),
    ("affiliation", &["affiliation"]),
];
const LIST: &[(&str, &[&str])] = &[("item_list_id", &["list_id"]), ("item_list_name", &["category"])];
const PROMOTION: &[(&str, &[&str])] = &[
    ("promotion_id", &["promotion_id"]),
    ("promotion_name", &["name"]),
    ("creative_name", &["creative"]),
    ("creative_slot", &["position"]),
];
const METHOD: &[(&str, &[&str])] = &[("method", &["method", "type"])];

const NOTHING: Recommended = Recommended {
    segment: "",
    name: "",
    items: Items::None,
    params: &[],
    value: &[],
    is_sum: false,
    else_own: false,
};

const RECOMMENDED: [Recommended; 20] = [
    Recommended {
        segment: "order_completed",
        name: "purchase",
        items: Items::Products,
        params: ORDER,
        value: &["total", "value", "revenue"],
        ..NOTHING
    },
    Recommended {
        segment: "order_refunded",
        name: "refund",
        items: Items::Products,
        params: ORDER,
        value: &["total", "value", "revenue"],
        ..NOTHING
    },
    Recommended {
        segment: "product_added",
        name: "add_to_cart",
        items: Items::Itself,
        is_sum: true,
        ..NOTHING
    },
    Recommended {
        segment: "product_removed",
        name: "remove_from_cart",
        items: Items::Itself,
        is_sum: true,
        ..NOTHING
    },
    Recommended {
        segment: "cart_viewed",
        name: "view_cart",
        items: Items::Products,
        value: &["value"],
        is_sum: true,
        ..NOTHING
    },
    Recommended {
        segment: "checkout_started",
        name: "begin_checkout",
        items: Items::Products,
        params: &[("coupon", &["coupon"])],
        value: &["value", "total", "revenue"],
        ..NOTHING
    },
    Recommended {
        segment: "checkout_step_completed",
        name: "add_shipping_info",
        items: Items::Products,
        params: &[("shipping_tier", &["shipping_method"])],
        value: &["value"],
        else_own: true,
        ..NOTHING
    },
    Recommended {
        segment: "payment_info_entered",
        name: "add_payment_info",
        items: Items::Products,
        params: &[("payment_type", &["payment_method"])],
        value: &["value"],
        else_own: true,
        ..NOTHING
    },
    Recommended {
        segment: "product_viewed",
        name: "view_item",
        items: Items::Itself,
        value: &["value", "price"],
        ..NOTHING
    },
    Recommended {
        segment: "product_clicked",
        name: "select_item",
        items: Items::Itself,
        params: LIST,
        ..NOTHING
    },
    Recommended {
        segment: "product_list_viewed",
        name: "view_item_list",
        items: Items::Products,
        params: LIST,
        ..NOTHING
    },
    Recommended {
        segment: "products_searched",
        name: "search",
        params: &[("search_term", &["query"])],
        ..NOTHING
    },
    Recommended {
        segment: "promotion_viewed",
        name: "view_promotion",
        items: Items::Promotion,
        params: PROMOTION,
        ..NOTHING
    },
    Recommended {
        segment: "promotion_clicked",
        name: "select_promotion",
        items: Items::Promotion,
        params: PROMOTION,
        ..NOTHING
    },
    Recommended {
        segment: "product_added_to_wishlist",
        name: "add_to_wishlist",
        items: Items::Itself,
        value: &["value", "price"],
        ..NOTHING
    },
    Recommended {
        segment: "product_shared",
        name: "share",
        params: &[("method", &["share_via"]), ("item_id", &["product_id"])],
        ..NOTHING
    },
    Recommended {
        segment: "cart_shared",
        name: "share",
        params: &[("method", &["share_via"]), ("item_id", &["cart_id"])],
        ..NOTHING
    },
    Recommended { segment: "signed_up", name: "sign_up", params: METHOD, ..NOTHING },
    Recommended { segment: "signed_in", name: "login", params: METHOD, ..NOTHING },
    Recommended { segment: "lead_generated", name: "generate_lead", value: &["value"], ..NOTHING },
];

/// What Google's events cannot do without, and the property of Segment's that says it.
const NEEDED: [(&str, &str, &str); 16] = [
    ("add_payment_info", "items", "products"),
    ("add_shipping_info", "items", "products"),
    ("add_to_cart", "items", "product_id"),
    ("add_to_wishlist", "items", "product_id"),
    ("begin_checkout", "items", "products"),
    ("purchase", "transaction_id", "order_id"),
    ("purchase", "items", "products"),
    ("purchase", "value", "total"),
    ("refund", "transaction_id", "order_id"),
    ("remove_from_cart", "items", "product_id"),
    ("search", "search_term", "query"),
    ("select_item", "items", "product_id"),
    ("view_cart", "items", "products"),
    ("view_item", "items", "product_id"),
    ("view_item_list", "items", "products"),
    ("view_promotion", "items", "promotion_id"),
];

/// What Google's event `name` needs and does not have: the parameter, and the property that says it.
pub(super) fn missing(name: &str, params: &Params) -> Option<(&'static str, &'static str)> {
    let of_event = NEEDED.iter().filter(|(event, ..)| *event == name);
    of_event.map(|(_, param, property)| (*param, *property)).find(|(param, _)| params.get(param).is_none())
}

impl Recommended {
    /// Google's event for one of Segment's, by its name in snake case.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        RECOMMENDED.iter().find(|recommended| recommended.segment == name)
    }

    /// Moves what Google knows from `properties` to `params`.
    pub(super) fn take(&self, params: &mut Params, properties: &mut Map<String, Value>) {
        for (name, sources) in self.params {
            let form = if matches!(*name, "tax" | "shipping") { Form::Number } else { Form::Text };
            let mut values = sources.iter().filter_map(|source| properties.get(*source));
            params.set(name, values.find_map(|value| form.read(value)));
        }
        if self.name == "share" {
            params.set("content_type", Some(self.segment.trim_end_matches("_shared").into()));
        }
        let items = self.items(properties);
        let amount = |source| Some((source, Form::Number.read(properties.get(source)?)?));
        let value = self.value.iter().copied().find_map(amount);
        if let Some((source, value)) = value {
            params.set("value", Some(value));
            properties.remove(source);
        } else if self.is_sum {
            params.set("value", items.as_deref().and_then(sum));
        }
        params.set("items", items.map(Value::from));
        self.remove_taken(params, properties);
    }

    fn items(&self, properties: &Map<String, Value>) -> Option<Vec<Value>> {
        let products = || {
            let items = Form::Items.read(properties.get("products").or_else(|| properties.get("items"))?)?;
            items.as_array().cloned()
        };
        match self.items {
            Items::None => None,
            Items::Products => products(),
            Items::Itself => item(&of_item(properties)).map(|item| vec![item]),
            Items::Promotion => products().or_else(|| {
                let id = properties.get("promotion_id").unwrap_or(&Value::Null);
                let name = properties.get("name").unwrap_or(&Value::Null);
                let promotion = json!({"item_id": id, "item_name": name});
                item(promotion.as_object()?).map(|item| vec![item])
            }),
        }
    }

    /// What has become a parameter is not sent once more as one of the customer's own.
    fn remove_taken(&self, params: &Params, properties: &mut Map<String, Value>) {
        if params.get("items").is_some() {
            properties.remove("products");
            properties.remove("items");
            if matches!(self.items, Items::Itself) {
                let currency = properties.remove("currency");
                *properties = without_item(properties);
                properties.extend(currency.map(|currency| ("currency".to_owned(), currency)));
            }
        }
        for (name, sources) in self.params {
            if params.get(name).is_some() {
                sources.iter().for_each(|source| drop(properties.remove(*source)));
            }
        }
    }
}

/// Price times quantity of all items; `None` where none has a price.
fn sum(items: &[Value]) -> Option<Value> {
    let amounts: Vec<f64> = items
        .iter()
        .filter_map(|item| Some(item["price"].as_f64()? * item["quantity"].as_f64().unwrap_or(1.0)))
        .collect();
    // Without what binary fractions add: 3 × 19.99 is 59.97.
    let sum = (amounts.iter().sum::<f64>() * 1e6).round() / 1e6;
    if amounts.is_empty() { None } else { Number::from_f64(sum).map(Value::Number) }
}
