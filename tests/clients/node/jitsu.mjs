// Sends events with Jitsu's own client, from a server, and prints what it sent and what went wrong.
//
// Usage: node jitsu.mjs URL WRITE_KEY COUNT
import { jitsuAnalytics } from '@jitsu/js'

const [host, writeKey, count] = process.argv.slice(2)
const errors = []
const sent = {}
// Its calls do not tell the ids that it makes, so they are read where they leave.
const watched = async (address, options) => {
  const answer = await fetch(address, options)
  if (answer.status !== 200) errors.push(`${answer.status} ${await answer.text()}`)
  const { messageId, type } = JSON.parse(options.body)
  sent[messageId] = type
  return answer
}
// Its keys have two parts; Flowstate's is the first.
const analytics = jitsuAnalytics({ host, writeKey: `${writeKey}:secret`, s2s: true, fetch: watched, errorPolicy: 'throw' })

for (let number = 0; number < Number(count); number++) {
  const userId = `user-${number}`
  const properties = { number, price: number / 4, note: 'naïve ☕', list: [1, { a: null }] }
  const traits = { email: `${userId}@example.com`, plan: 'pro', seats: number }
  const calls = [
    () => analytics.identify(userId, traits),
    () => analytics.track('Order Completed', properties),
    () => analytics.page({ name: 'Start', url: `https://shop.example.com/${number}`, ...properties }),
    () => analytics.group(`group-${number}`, traits),
  ]
  await calls[number % calls.length]().catch((error) => errors.push(String(error)))
}
console.log(JSON.stringify({ sent, errors }))
