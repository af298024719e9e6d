// Sends events of all kinds with RudderStack's own client, which compresses by default, and prints
// what it sent and what went wrong.
//
// Usage: node rudderstack.mjs URL WRITE_KEY COUNT
import Rudder from '@rudderstack/rudder-sdk-node'

const [url, writeKey, count] = process.argv.slice(2)
const errors = []
const sent = {}
const Analytics = Rudder.default ?? Rudder
const analytics = new Analytics(writeKey, { dataPlaneUrl: url, flushAt: 15, logLevel: 'error' })

const calls = []
for (let number = 0; number < Number(count); number++) {
  const userId = `user-${number}`
  const messageId = `rudder-${number}`
  const properties = { number, price: number / 4, note: 'naïve ☕', list: [1, { a: null }] }
  const traits = { email: `${userId}@example.com`, plan: 'pro', seats: number }
  const kinds = {
    track: { userId, messageId, event: 'Order Completed', properties },
    identify: { userId, messageId, traits },
    page: { userId, messageId, category: 'Docs', name: 'Start', properties },
    screen: { userId, messageId, category: 'App', name: 'Home', properties },
    group: { userId, messageId, groupId: `group-${number}`, traits },
    alias: { userId, messageId, previousId: `visitor-${number}` },
  }
  const [kind, message] = Object.entries(kinds)[number % 6]
  sent[messageId] = kind
  const delivered = new Promise((resolve) => {
    analytics[kind](message, (error) => resolve(error && errors.push(String(error))))
  })
  calls.push(delivered)
}
// One flush sends as many as fit into one request.
for (let left = Number(count); left > 0; left -= 15) await analytics.flush()
await Promise.all(calls)
console.log(JSON.stringify({ sent, errors }))
