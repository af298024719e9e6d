"""Sends events of all kinds with an unmodified client and prints what it sent and what went wrong.

Usage: send.py URL WRITE_KEY COUNT (segment|rudderstack) (gzip|plain|default)
"""

import importlib
import json
import sys

url, write_key, count, vendor, encoding = sys.argv[1:]
errors = []
client = importlib.import_module(f"{vendor}.analytics.client").Client(
    write_key,
    host=url,
    on_error=lambda error, items: errors.append(repr(error)),
    **({} if encoding == "default" else {"gzip": encoding == "gzip"}),
)
sent = {}
for number in range(int(count)):
    user, visitor = f"user-{number}", f"visitor-{number}"
    properties = {"number": number, "price": number / 4, "note": "naïve ☕", "list": [1, {"a": None}]}
    traits = {"email": f"{user}@example.com", "plan": "pro", "seats": number}
    calls = [
        lambda: client.track(user, "Order Completed", properties),
        lambda: client.identify(user, traits),
        lambda: client.page(user, "Docs", "Start", properties),
        lambda: client.screen(user, "App", "Home", properties),
        lambda: client.group(user, f"group-{number}", traits),
        lambda: client.alias(visitor, user),
    ]
    queued, message = calls[number % len(calls)]()
    assert queued, message
    sent[message["messageId"]] = message["type"]
client.flush()
client.join()
print(json.dumps({"sent": sent, "errors": errors}))
