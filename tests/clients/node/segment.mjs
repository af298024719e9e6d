// Sends events of all kinds with Segment's own client and prints what it sent and what went wrong.
//
// Usage: node send.mjs URL WRITE_KEY COUNT
import { Analytics } from '@segment/analytics-node'

const [url, writeKey, count] = process.argv.slice(2)
const errors = []
const sent = {}
const analytics = new Analytics({ host: url, writeKey, flushAt: 15 })
analytics.on('error', (error) => errors.push(String(error.reason ?? error.code ?? error)))

for (let number = 0; number < Number(count); number++) {
  const userId = `user-${number}`
  const properties = { number, price: number / 4, note: 'naïve ☕', list: [1, { a: null }] }
  const traits = { email: `${userId}@example.com`, plan: 'pro', seats: number }
  const keep = (error, context) => {
    if (error) errors.push(String(error))
    else sent[context.event.messageId] = context.event.type
  }
  const calls = [
    () => analytics.track({ userId, event: 'Order Completed', properties }, keep),
    () => analytics.identify({ userId, traits }, keep),
    () => analytics.page({ userId, category: 'Docs', name: 'Start', properties }, keep),
    () => analytics.screen({ userId, category: 'App', name: 'Home', properties }, keep),
    () => analytics.group({ userId, groupId: `group-${number}`, traits }, keep),
    () => analytics.alias({ userId, previousId: `visitor-${number}` }, keep),
  ]
  calls[number % calls.length]()
}
await analytics.closeAndFlush()
console.log(JSON.stringify({ sent, errors }))
